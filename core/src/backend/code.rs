//! Error numbers with their names: Kafka's protocol's, and librdkafka's own.

use core::fmt;

/// An error of Kafka's protocol or of librdkafka: its number, with its name and description.
///
/// Numbers from 0 up are Kafka's, -1 is its unknown error, and those below are librdkafka's own. Each error of librdkafka
/// 2.12 is a constant: `RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS` is `NotEnoughReplicas`, and `RD_KAFKA_RESP_ERR__TIMED_OUT`,
/// one of librdkafka's own, is `LocalTimedOut`. A broker may be newer than this table, so a number without a name is an
/// `ErrorCode`, too.
///
/// The constants work as patterns:
///
/// ```
/// use aioproducer_core::backend::ErrorCode;
///
/// fn hint(code: ErrorCode) -> &'static str {
///     match code {
///         ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => "look at the cluster",
///         ErrorCode::TopicAuthorizationFailed => "ask for the right to write",
///         code if code.is_retriable() => "wait",
///         _ => "look at the record",
///     }
/// }
/// assert_eq!(hint(ErrorCode::TopicAuthorizationFailed), "ask for the right to write");
/// ```
///
/// ```
/// use aioproducer_core::backend::ErrorCode;
///
/// let code = ErrorCode::new(19);
/// assert_eq!(code, ErrorCode::NotEnoughReplicas);
/// assert_eq!(code.to_string(), "NotEnoughReplicas (19)");
/// assert_eq!(code.description(), Some("Broker: Not enough in-sync replicas"));
/// assert!(code.is_retriable());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(i32);

impl ErrorCode {
    /// The error of that number.
    #[must_use]
    pub const fn new(number: i32) -> Self {
        Self(number)
    }

    /// The number, as in `rd_kafka_resp_err_t`.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }

    /// The name, such as `NotEnoughReplicas` or `LocalTimedOut`; `None` if the number is not known here.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.row().map(|row| row.name)
    }

    /// librdkafka's description, `None` if the number is not known here.
    #[must_use]
    pub fn description(self) -> Option<&'static str> {
        self.row().map(|row| row.description)
    }

    /// Whether the cause may pass by itself, so that the same request may succeed later. Of Kafka's errors its protocol says
    /// so (as of Kafka 4.1); of librdkafka's own it is so of lost connections, of what came too late, of a full queue, and of a
    /// record whose batch was refused for another one's sake.
    ///
    /// It says nothing about a record that failed with it: that may be in the log. [`Failure::advice`](super::Failure::advice)
    /// knows.
    #[must_use]
    pub const fn is_retriable(self) -> bool {
        matches!(
            self,
            Self::InvalidMsg
                | Self::UnknownTopicOrPart
                | Self::LeaderNotAvailable
                | Self::NotLeaderForPartition
                | Self::RequestTimedOut
                | Self::ReplicaNotAvailable
                | Self::NetworkException
                | Self::CoordinatorLoadInProgress
                | Self::CoordinatorNotAvailable
                | Self::NotCoordinator
                | Self::NotEnoughReplicas
                | Self::NotEnoughReplicasAfterAppend
                | Self::NotController
                | Self::ConcurrentTransactions
                | Self::KafkaStorageError
                | Self::FetchSessionIdNotFound
                | Self::InvalidFetchSessionEpoch
                | Self::ListenerNotFound
                | Self::FencedLeaderEpoch
                | Self::UnknownLeaderEpoch
                | Self::OffsetNotAvailable
                | Self::PreferredLeaderNotAvailable
                | Self::EligibleLeadersNotAvailable
                | Self::ElectionNotNeeded
                | Self::UnstableOffsetCommit
                | Self::ThrottlingQuotaExceeded
                | Self::UnknownTopicId
                | Self::LocalTransport
                | Self::LocalResolve
                | Self::LocalAllBrokersDown
                | Self::LocalMsgTimedOut
                | Self::LocalTimedOut
                | Self::LocalTimedOutQueue
                | Self::LocalQueueFull
                | Self::LocalWaitCoord
                | Self::LocalRetry
                | Self::LocalDestroyBroker
                | Self::LocalInvalidDifferentRecord
        )
    }

    /// All that have a name.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.code)
    }

    fn row(self) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.code == self)
    }

    /// The number, 0 for no code: half the size of an `Option`.
    pub(super) const fn compact(code: Option<Self>) -> i32 {
        match code {
            Some(code) => code.0,
            None => 0,
        }
    }

    pub(super) const fn from_compact(number: i32) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }
}

impl From<i32> for ErrorCode {
    fn from(number: i32) -> Self {
        Self(number)
    }
}

impl From<ErrorCode> for i32 {
    fn from(code: ErrorCode) -> Self {
        code.0
    }
}

/// `NotEnoughReplicas (19)`.
impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name().unwrap_or("an error without a name here"), self.0)
    }
}

/// As it is displayed.
impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

struct Row {
    code: ErrorCode,
    name: &'static str,
    description: &'static str,
}

macro_rules! codes {
    ($($constant:ident = $number:literal, $description:literal;)*) => {
        #[expect(non_upper_case_globals, reason = "used as an enum's variants are, which cannot have unknown numbers")]
        impl ErrorCode {
            $(
                #[doc = $description]
                pub const $constant: Self = Self($number);
            )*
        }

        const TABLE: &[Row] = &[
            $(Row {
                code: ErrorCode::$constant,
                name: stringify!($constant),
                description: $description,
            },)*
        ];
    };
}

codes! {
    Unknown = -1, "Unknown broker error";
    NoError = 0, "Success";
    OffsetOutOfRange = 1, "Broker: Offset out of range";
    InvalidMsg = 2, "Broker: Invalid message";
    UnknownTopicOrPart = 3, "Broker: Unknown topic or partition";
    InvalidMsgSize = 4, "Broker: Invalid message size";
    LeaderNotAvailable = 5, "Broker: Leader not available";
    NotLeaderForPartition = 6, "Broker: Not leader for partition";
    RequestTimedOut = 7, "Broker: Request timed out";
    BrokerNotAvailable = 8, "Broker: Broker not available";
    ReplicaNotAvailable = 9, "Broker: Replica not available";
    MsgSizeTooLarge = 10, "Broker: Message size too large";
    StaleCtrlEpoch = 11, "Broker: StaleControllerEpochCode";
    OffsetMetadataTooLarge = 12, "Broker: Offset metadata string too large";
    NetworkException = 13, "Broker: Broker disconnected before response received";
    CoordinatorLoadInProgress = 14, "Broker: Coordinator load in progress";
    CoordinatorNotAvailable = 15, "Broker: Coordinator not available";
    NotCoordinator = 16, "Broker: Not coordinator";
    TopicException = 17, "Broker: Invalid topic";
    RecordListTooLarge = 18, "Broker: Message batch larger than configured server segment size";
    NotEnoughReplicas = 19, "Broker: Not enough in-sync replicas";
    NotEnoughReplicasAfterAppend = 20, "Broker: Message(s) written to insufficient number of in-sync replicas";
    InvalidRequiredAcks = 21, "Broker: Invalid required acks value";
    IllegalGeneration = 22, "Broker: Specified group generation id is not valid";
    InconsistentGroupProtocol = 23, "Broker: Inconsistent group protocol";
    InvalidGroupId = 24, "Broker: Invalid group.id";
    UnknownMemberId = 25, "Broker: Unknown member";
    InvalidSessionTimeout = 26, "Broker: Invalid session timeout";
    RebalanceInProgress = 27, "Broker: Group rebalance in progress";
    InvalidCommitOffsetSize = 28, "Broker: Commit offset data size is not valid";
    TopicAuthorizationFailed = 29, "Broker: Topic authorization failed";
    GroupAuthorizationFailed = 30, "Broker: Group authorization failed";
    ClusterAuthorizationFailed = 31, "Broker: Cluster authorization failed";
    InvalidTimestamp = 32, "Broker: Invalid timestamp";
    UnsupportedSaslMechanism = 33, "Broker: Unsupported SASL mechanism";
    IllegalSaslState = 34, "Broker: Request not valid in current SASL state";
    UnsupportedVersion = 35, "Broker: API version not supported";
    TopicAlreadyExists = 36, "Broker: Topic already exists";
    InvalidPartitions = 37, "Broker: Invalid number of partitions";
    InvalidReplicationFactor = 38, "Broker: Invalid replication factor";
    InvalidReplicaAssignment = 39, "Broker: Invalid replica assignment";
    InvalidConfig = 40, "Broker: Configuration is invalid";
    NotController = 41, "Broker: Not controller for cluster";
    InvalidRequest = 42, "Broker: Invalid request";
    UnsupportedForMessageFormat = 43, "Broker: Message format on broker does not support request";
    PolicyViolation = 44, "Broker: Policy violation";
    OutOfOrderSequenceNumber = 45, "Broker: Broker received an out of order sequence number";
    DuplicateSequenceNumber = 46, "Broker: Broker received a duplicate sequence number";
    InvalidProducerEpoch = 47, "Broker: Producer attempted an operation with an old epoch";
    InvalidTxnState = 48, "Broker: Producer attempted a transactional operation in an invalid state";
    InvalidProducerIdMapping = 49, "Broker: Producer attempted to use a producer id which is not currently assigned to its transactional id";
    InvalidTransactionTimeout = 50, "Broker: Transaction timeout is larger than the maximum value allowed by the broker's max.transaction.timeout.ms";
    ConcurrentTransactions = 51, "Broker: Producer attempted to update a transaction while another concurrent operation on the same transaction was ongoing";
    TransactionCoordinatorFenced = 52, "Broker: Indicates that the transaction coordinator sending a WriteTxnMarker is no longer the current coordinator for a given producer";
    TransactionalIdAuthorizationFailed = 53, "Broker: Transactional Id authorization failed";
    SecurityDisabled = 54, "Broker: Security features are disabled";
    OperationNotAttempted = 55, "Broker: Operation not attempted";
    KafkaStorageError = 56, "Broker: Disk error when trying to access log file on disk";
    LogDirNotFound = 57, "Broker: The user-specified log directory is not found in the broker config";
    SaslAuthenticationFailed = 58, "Broker: SASL Authentication failed";
    UnknownProducerId = 59, "Broker: Unknown Producer Id";
    ReassignmentInProgress = 60, "Broker: Partition reassignment is in progress";
    DelegationTokenAuthDisabled = 61, "Broker: Delegation Token feature is not enabled";
    DelegationTokenNotFound = 62, "Broker: Delegation Token is not found on server";
    DelegationTokenOwnerMismatch = 63, "Broker: Specified Principal is not valid Owner/Renewer";
    DelegationTokenRequestNotAllowed = 64, "Broker: Delegation Token requests are not allowed on this connection";
    DelegationTokenAuthorizationFailed = 65, "Broker: Delegation Token authorization failed";
    DelegationTokenExpired = 66, "Broker: Delegation Token is expired";
    InvalidPrincipalType = 67, "Broker: Supplied principalType is not supported";
    NonEmptyGroup = 68, "Broker: The group is not empty";
    GroupIdNotFound = 69, "Broker: The group id does not exist";
    FetchSessionIdNotFound = 70, "Broker: The fetch session ID was not found";
    InvalidFetchSessionEpoch = 71, "Broker: The fetch session epoch is invalid";
    ListenerNotFound = 72, "Broker: No matching listener";
    TopicDeletionDisabled = 73, "Broker: Topic deletion is disabled";
    FencedLeaderEpoch = 74, "Broker: Leader epoch is older than broker epoch";
    UnknownLeaderEpoch = 75, "Broker: Leader epoch is newer than broker epoch";
    UnsupportedCompressionType = 76, "Broker: Unsupported compression type";
    StaleBrokerEpoch = 77, "Broker: Broker epoch has changed";
    OffsetNotAvailable = 78, "Broker: Leader high watermark is not caught up";
    MemberIdRequired = 79, "Broker: Group member needs a valid member ID";
    PreferredLeaderNotAvailable = 80, "Broker: Preferred leader was not available";
    GroupMaxSizeReached = 81, "Broker: Consumer group has reached maximum size";
    FencedInstanceId = 82, "Broker: Static consumer fenced by other consumer with same group.instance.id";
    EligibleLeadersNotAvailable = 83, "Broker: Eligible partition leaders are not available";
    ElectionNotNeeded = 84, "Broker: Leader election not needed for topic partition";
    NoReassignmentInProgress = 85, "Broker: No partition reassignment is in progress";
    GroupSubscribedToTopic = 86, "Broker: Deleting offsets of a topic while the consumer group is subscribed to it";
    InvalidRecord = 87, "Broker: Broker failed to validate record";
    UnstableOffsetCommit = 88, "Broker: There are unstable offsets that need to be cleared";
    ThrottlingQuotaExceeded = 89, "Broker: Throttling quota has been exceeded";
    ProducerFenced = 90, "Broker: There is a newer producer with the same transactionalId which fences the current one";
    ResourceNotFound = 91, "Broker: Request illegally referred to resource that does not exist";
    DuplicateResource = 92, "Broker: Request illegally referred to the same resource twice";
    UnacceptableCredential = 93, "Broker: Requested credential would not meet criteria for acceptability";
    InconsistentVoterSet = 94, "Broker: Indicates that the either the sender or recipient of a voter-only request is not one of the expected voters";
    InvalidUpdateVersion = 95, "Broker: Invalid update version";
    FeatureUpdateFailed = 96, "Broker: Unable to update finalized features due to server error";
    PrincipalDeserializationFailure = 97, "Broker: Request principal deserialization failed during forwarding";
    UnknownTopicId = 100, "Broker: Unknown topic id";
    FencedMemberEpoch = 110, "Broker: The member epoch is fenced by the group coordinator";
    UnreleasedInstanceId = 111, "Broker: The instance ID is still used by another member in the consumer group";
    UnsupportedAssignor = 112, "Broker: The assignor or its version range is not supported by the consumer group";
    StaleMemberEpoch = 113, "Broker: The member epoch is stale";
    UnknownSubscriptionId = 117, "Broker: Client sent a push telemetry request with an invalid or outdated subscription ID";
    TelemetryTooLarge = 118, "Broker: Client sent a push telemetry request larger than the maximum size the broker will accept";
    RebootstrapRequired = 129, "Broker: Client metadata is stale, client should rebootstrap to obtain new metadata";
    LocalDestroyBroker = -137, "Local: Broker handle destroyed without termination";
    LocalInvalidDifferentRecord = -138, "Local: an invalid record in the same batch caused the failure of this message too";
    LocalLogTruncation = -139, "Local: Partition log truncation detected";
    LocalAutoOffsetReset = -140, "Local: No offset to automatically reset to";
    LocalNoop = -141, "Local: No operation performed";
    LocalAssignmentLost = -142, "Local: Group partition assignment lost";
    LocalApplication = -143, "Local: Application generated error";
    LocalFenced = -144, "Local: This instance has been fenced by a newer instance";
    LocalNotConfigured = -145, "Local: Functionality not configured";
    LocalUnknownBroker = -146, "Local: Unknown broker";
    LocalMaxPollExceeded = -147, "Local: Maximum application poll interval (max.poll.interval.ms) exceeded";
    LocalGaplessGuarantee = -148, "Local: Gap-less ordering would not be guaranteed if proceeding";
    LocalInconsistent = -149, "Local: Inconsistent state";
    LocalFatal = -150, "Local: Fatal error";
    LocalPurgeInflight = -151, "Local: Purged in flight";
    LocalPurgeQueue = -152, "Local: Purged in queue";
    LocalRetry = -153, "Local: Retry operation";
    LocalInvalidType = -154, "Local: Invalid type";
    LocalUnderflow = -155, "Local: Read underflow";
    LocalNoent = -156, "Local: No such entry";
    LocalReadOnly = -157, "Local: Read-only object";
    LocalPartial = -158, "Local: Partial response";
    LocalValueDeserialization = -159, "Local: Value deserialization error";
    LocalKeyDeserialization = -160, "Local: Key deserialization error";
    LocalValueSerialization = -161, "Local: Value serialization error";
    LocalKeySerialization = -162, "Local: Key serialization error";
    LocalIntr = -163, "Local: Operation interrupted";
    LocalWaitCache = -164, "Local: Awaiting cache update";
    LocalUnsupportedFeature = -165, "Local: Required feature not supported by broker";
    LocalTimedOutQueue = -166, "Local: Timed out in queue";
    LocalOutdated = -167, "Local: Outdated";
    LocalNoOffset = -168, "Local: No offset stored";
    LocalAuthentication = -169, "Local: Authentication failure";
    LocalNotImplemented = -170, "Local: Not implemented";
    LocalUnknownProtocol = -171, "Local: Unknown protocol";
    LocalState = -172, "Local: Erroneous state";
    LocalConflict = -173, "Local: Conflicting use";
    LocalRevokePartitions = -174, "Local: Revoke partitions";
    LocalAssignPartitions = -175, "Local: Assign partitions";
    LocalExistingSubscription = -176, "Local: Existing subscription";
    LocalPrevInProgress = -177, "Local: Previous operation in progress";
    LocalInProgress = -178, "Local: Operation in progress";
    LocalUnknownGroup = -179, "Local: Unknown group";
    LocalWaitCoord = -180, "Local: Waiting for coordinator";
    LocalSsl = -181, "Local: SSL error";
    LocalNodeUpdate = -182, "Local: Broker node update";
    LocalIsrInsuff = -183, "Local: ISR count insufficient";
    LocalQueueFull = -184, "Local: Queue full";
    LocalTimedOut = -185, "Local: Timed out";
    LocalInvalidArg = -186, "Local: Invalid argument or configuration";
    LocalAllBrokersDown = -187, "Local: All broker connections are down";
    LocalUnknownTopic = -188, "Local: Unknown topic";
    LocalFs = -189, "Local: File or filesystem error";
    LocalUnknownPartition = -190, "Local: Unknown partition";
    LocalPartitionEof = -191, "Broker: No more messages";
    LocalMsgTimedOut = -192, "Local: Message timed out";
    LocalResolve = -193, "Local: Host resolution failure";
    LocalCritSysResource = -194, "Local: Critical system resource failure";
    LocalTransport = -195, "Local: Broker transport failure";
    LocalFail = -196, "Local: Communication failure with broker";
    LocalDestroy = -197, "Local: Broker handle destroyed for termination";
    LocalBadCompression = -198, "Local: Invalid compressed data";
    LocalBadMsg = -199, "Local: Bad message format";
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::backend::{Delivered, Failure};

    #[test]
    fn s39_codes_have_names_and_those_without_are_shown_by_number() {
        assert_eq!(
            format!("{} {:?}", ErrorCode::LocalMsgTimedOut, ErrorCode::new(19)),
            "LocalMsgTimedOut (-192) NotEnoughReplicas (19)"
        );
        assert_eq!(format!("{}", ErrorCode::new(9_999)), "an error without a name here (9999)");
        assert_eq!((ErrorCode::new(9_999).name(), ErrorCode::new(9_999).is_retriable()), (None, false));
        assert!(ErrorCode::RequestTimedOut.is_retriable() && !ErrorCode::MsgSizeTooLarge.is_retriable());
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn what_each_record_carries_stays_small() {
        assert_eq!((size_of::<Failure>(), size_of::<Delivered>(), size_of::<ErrorCode>()), (24, 24, 4));
    }

    #[test]
    fn a_number_has_one_name() {
        let all = || ErrorCode::all().enumerate();
        for (at, code) in all() {
            assert!(all().all(|(other, same)| at == other || (same != code && same.name() != code.name())), "{code}");
        }
    }
}
