//! Error numbers with their names: Kafka's protocol's, and librdkafka's own.

use core::fmt;

use super::{CallError, Failure, MetadataError};

/// An error number: zero and above Kafka's protocol's, -1 its unknown error, below that librdkafka's own.
///
/// The constants have librdkafka's names (`RD_KAFKA_RESP_ERR_…`); those of its own errors, which begin with `_` there, begin
/// with `LOCAL_` here. A number without a name is one too, since a broker may be newer than this table.
///
/// ```
/// use aioproducer_core::backend::ErrorCode;
///
/// let code = ErrorCode::new(19);
/// assert_eq!(code, ErrorCode::NOT_ENOUGH_REPLICAS);
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
        self.entry().map(|entry| entry.name)
    }

    /// librdkafka's description, `None` if the number is not known here.
    #[must_use]
    pub fn description(self) -> Option<&'static str> {
        self.entry().map(|entry| entry.description)
    }

    /// Whether the cause may pass by itself, so that the same request may succeed later. Of Kafka's errors its protocol says
    /// so (as of Kafka 4.1); of librdkafka's own it is so of lost connections, of what came too late and of a full queue.
    ///
    /// It says nothing about a record that failed with it: that may be in the log.
    #[must_use]
    pub const fn is_retriable(self) -> bool {
        matches!(
            self,
            Self::INVALID_MSG
                | Self::UNKNOWN_TOPIC_OR_PART
                | Self::LEADER_NOT_AVAILABLE
                | Self::NOT_LEADER_FOR_PARTITION
                | Self::REQUEST_TIMED_OUT
                | Self::REPLICA_NOT_AVAILABLE
                | Self::NETWORK_EXCEPTION
                | Self::COORDINATOR_LOAD_IN_PROGRESS
                | Self::COORDINATOR_NOT_AVAILABLE
                | Self::NOT_COORDINATOR
                | Self::NOT_ENOUGH_REPLICAS
                | Self::NOT_ENOUGH_REPLICAS_AFTER_APPEND
                | Self::NOT_CONTROLLER
                | Self::CONCURRENT_TRANSACTIONS
                | Self::KAFKA_STORAGE_ERROR
                | Self::FETCH_SESSION_ID_NOT_FOUND
                | Self::INVALID_FETCH_SESSION_EPOCH
                | Self::LISTENER_NOT_FOUND
                | Self::FENCED_LEADER_EPOCH
                | Self::UNKNOWN_LEADER_EPOCH
                | Self::OFFSET_NOT_AVAILABLE
                | Self::PREFERRED_LEADER_NOT_AVAILABLE
                | Self::ELIGIBLE_LEADERS_NOT_AVAILABLE
                | Self::ELECTION_NOT_NEEDED
                | Self::UNSTABLE_OFFSET_COMMIT
                | Self::THROTTLING_QUOTA_EXCEEDED
                | Self::UNKNOWN_TOPIC_ID
                | Self::LOCAL_TRANSPORT
                | Self::LOCAL_RESOLVE
                | Self::LOCAL_ALL_BROKERS_DOWN
                | Self::LOCAL_MSG_TIMED_OUT
                | Self::LOCAL_TIMED_OUT
                | Self::LOCAL_TIMED_OUT_QUEUE
                | Self::LOCAL_QUEUE_FULL
                | Self::LOCAL_WAIT_COORD
                | Self::LOCAL_RETRY
        )
    }

    /// All that have a name.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|entry| entry.code)
    }

    fn entry(self) -> Option<&'static Entry> {
        TABLE.iter().find(|entry| entry.code == self)
    }

    /// Numbers in the seam's words have 0 for none.
    fn of_number(number: i32) -> Option<Self> {
        (number != 0).then_some(Self(number))
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

impl Failure {
    /// [`Failure::code`](field@Self::code) with its name, `None` if there is none.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        ErrorCode::of_number(self.code)
    }
}

impl CallError {
    /// [`CallError::code`](field@Self::code) with its name, `None` if there is none.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        ErrorCode::of_number(self.code)
    }
}

impl MetadataError {
    /// [`MetadataError::code`](field@Self::code) with its name.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        ErrorCode(self.code)
    }
}

struct Entry {
    code: ErrorCode,
    name: &'static str,
    description: &'static str,
    #[cfg(test)]
    constant: &'static str,
}

macro_rules! codes {
    ($($constant:ident = $number:literal, $name:literal, $description:literal;)*) => {
        impl ErrorCode {
            $(
                #[doc = $description]
                pub const $constant: Self = Self($number);
            )*
        }

        const TABLE: &[Entry] = &[
            $(Entry {
                code: ErrorCode::$constant,
                name: $name,
                description: $description,
                #[cfg(test)]
                constant: stringify!($constant),
            },)*
        ];
    };
}

codes! {
    UNKNOWN = -1, "Unknown", "Unknown broker error";
    NO_ERROR = 0, "NoError", "Success";
    OFFSET_OUT_OF_RANGE = 1, "OffsetOutOfRange", "Broker: Offset out of range";
    INVALID_MSG = 2, "InvalidMsg", "Broker: Invalid message";
    UNKNOWN_TOPIC_OR_PART = 3, "UnknownTopicOrPart", "Broker: Unknown topic or partition";
    INVALID_MSG_SIZE = 4, "InvalidMsgSize", "Broker: Invalid message size";
    LEADER_NOT_AVAILABLE = 5, "LeaderNotAvailable", "Broker: Leader not available";
    NOT_LEADER_FOR_PARTITION = 6, "NotLeaderForPartition", "Broker: Not leader for partition";
    REQUEST_TIMED_OUT = 7, "RequestTimedOut", "Broker: Request timed out";
    BROKER_NOT_AVAILABLE = 8, "BrokerNotAvailable", "Broker: Broker not available";
    REPLICA_NOT_AVAILABLE = 9, "ReplicaNotAvailable", "Broker: Replica not available";
    MSG_SIZE_TOO_LARGE = 10, "MsgSizeTooLarge", "Broker: Message size too large";
    STALE_CTRL_EPOCH = 11, "StaleCtrlEpoch", "Broker: StaleControllerEpochCode";
    OFFSET_METADATA_TOO_LARGE = 12, "OffsetMetadataTooLarge", "Broker: Offset metadata string too large";
    NETWORK_EXCEPTION = 13, "NetworkException", "Broker: Broker disconnected before response received";
    COORDINATOR_LOAD_IN_PROGRESS = 14, "CoordinatorLoadInProgress", "Broker: Coordinator load in progress";
    COORDINATOR_NOT_AVAILABLE = 15, "CoordinatorNotAvailable", "Broker: Coordinator not available";
    NOT_COORDINATOR = 16, "NotCoordinator", "Broker: Not coordinator";
    TOPIC_EXCEPTION = 17, "TopicException", "Broker: Invalid topic";
    RECORD_LIST_TOO_LARGE = 18, "RecordListTooLarge", "Broker: Message batch larger than configured server segment size";
    NOT_ENOUGH_REPLICAS = 19, "NotEnoughReplicas", "Broker: Not enough in-sync replicas";
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20, "NotEnoughReplicasAfterAppend", "Broker: Message(s) written to insufficient number of in-sync replicas";
    INVALID_REQUIRED_ACKS = 21, "InvalidRequiredAcks", "Broker: Invalid required acks value";
    ILLEGAL_GENERATION = 22, "IllegalGeneration", "Broker: Specified group generation id is not valid";
    INCONSISTENT_GROUP_PROTOCOL = 23, "InconsistentGroupProtocol", "Broker: Inconsistent group protocol";
    INVALID_GROUP_ID = 24, "InvalidGroupId", "Broker: Invalid group.id";
    UNKNOWN_MEMBER_ID = 25, "UnknownMemberId", "Broker: Unknown member";
    INVALID_SESSION_TIMEOUT = 26, "InvalidSessionTimeout", "Broker: Invalid session timeout";
    REBALANCE_IN_PROGRESS = 27, "RebalanceInProgress", "Broker: Group rebalance in progress";
    INVALID_COMMIT_OFFSET_SIZE = 28, "InvalidCommitOffsetSize", "Broker: Commit offset data size is not valid";
    TOPIC_AUTHORIZATION_FAILED = 29, "TopicAuthorizationFailed", "Broker: Topic authorization failed";
    GROUP_AUTHORIZATION_FAILED = 30, "GroupAuthorizationFailed", "Broker: Group authorization failed";
    CLUSTER_AUTHORIZATION_FAILED = 31, "ClusterAuthorizationFailed", "Broker: Cluster authorization failed";
    INVALID_TIMESTAMP = 32, "InvalidTimestamp", "Broker: Invalid timestamp";
    UNSUPPORTED_SASL_MECHANISM = 33, "UnsupportedSaslMechanism", "Broker: Unsupported SASL mechanism";
    ILLEGAL_SASL_STATE = 34, "IllegalSaslState", "Broker: Request not valid in current SASL state";
    UNSUPPORTED_VERSION = 35, "UnsupportedVersion", "Broker: API version not supported";
    TOPIC_ALREADY_EXISTS = 36, "TopicAlreadyExists", "Broker: Topic already exists";
    INVALID_PARTITIONS = 37, "InvalidPartitions", "Broker: Invalid number of partitions";
    INVALID_REPLICATION_FACTOR = 38, "InvalidReplicationFactor", "Broker: Invalid replication factor";
    INVALID_REPLICA_ASSIGNMENT = 39, "InvalidReplicaAssignment", "Broker: Invalid replica assignment";
    INVALID_CONFIG = 40, "InvalidConfig", "Broker: Configuration is invalid";
    NOT_CONTROLLER = 41, "NotController", "Broker: Not controller for cluster";
    INVALID_REQUEST = 42, "InvalidRequest", "Broker: Invalid request";
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43, "UnsupportedForMessageFormat", "Broker: Message format on broker does not support request";
    POLICY_VIOLATION = 44, "PolicyViolation", "Broker: Policy violation";
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45, "OutOfOrderSequenceNumber", "Broker: Broker received an out of order sequence number";
    DUPLICATE_SEQUENCE_NUMBER = 46, "DuplicateSequenceNumber", "Broker: Broker received a duplicate sequence number";
    INVALID_PRODUCER_EPOCH = 47, "InvalidProducerEpoch", "Broker: Producer attempted an operation with an old epoch";
    INVALID_TXN_STATE = 48, "InvalidTxnState", "Broker: Producer attempted a transactional operation in an invalid state";
    INVALID_PRODUCER_ID_MAPPING = 49, "InvalidProducerIdMapping", "Broker: Producer attempted to use a producer id which is not currently assigned to its transactional id";
    INVALID_TRANSACTION_TIMEOUT = 50, "InvalidTransactionTimeout", "Broker: Transaction timeout is larger than the maximum value allowed by the broker's max.transaction.timeout.ms";
    CONCURRENT_TRANSACTIONS = 51, "ConcurrentTransactions", "Broker: Producer attempted to update a transaction while another concurrent operation on the same transaction was ongoing";
    TRANSACTION_COORDINATOR_FENCED = 52, "TransactionCoordinatorFenced", "Broker: Indicates that the transaction coordinator sending a WriteTxnMarker is no longer the current coordinator for a given producer";
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53, "TransactionalIdAuthorizationFailed", "Broker: Transactional Id authorization failed";
    SECURITY_DISABLED = 54, "SecurityDisabled", "Broker: Security features are disabled";
    OPERATION_NOT_ATTEMPTED = 55, "OperationNotAttempted", "Broker: Operation not attempted";
    KAFKA_STORAGE_ERROR = 56, "KafkaStorageError", "Broker: Disk error when trying to access log file on disk";
    LOG_DIR_NOT_FOUND = 57, "LogDirNotFound", "Broker: The user-specified log directory is not found in the broker config";
    SASL_AUTHENTICATION_FAILED = 58, "SaslAuthenticationFailed", "Broker: SASL Authentication failed";
    UNKNOWN_PRODUCER_ID = 59, "UnknownProducerId", "Broker: Unknown Producer Id";
    REASSIGNMENT_IN_PROGRESS = 60, "ReassignmentInProgress", "Broker: Partition reassignment is in progress";
    DELEGATION_TOKEN_AUTH_DISABLED = 61, "DelegationTokenAuthDisabled", "Broker: Delegation Token feature is not enabled";
    DELEGATION_TOKEN_NOT_FOUND = 62, "DelegationTokenNotFound", "Broker: Delegation Token is not found on server";
    DELEGATION_TOKEN_OWNER_MISMATCH = 63, "DelegationTokenOwnerMismatch", "Broker: Specified Principal is not valid Owner/Renewer";
    DELEGATION_TOKEN_REQUEST_NOT_ALLOWED = 64, "DelegationTokenRequestNotAllowed", "Broker: Delegation Token requests are not allowed on this connection";
    DELEGATION_TOKEN_AUTHORIZATION_FAILED = 65, "DelegationTokenAuthorizationFailed", "Broker: Delegation Token authorization failed";
    DELEGATION_TOKEN_EXPIRED = 66, "DelegationTokenExpired", "Broker: Delegation Token is expired";
    INVALID_PRINCIPAL_TYPE = 67, "InvalidPrincipalType", "Broker: Supplied principalType is not supported";
    NON_EMPTY_GROUP = 68, "NonEmptyGroup", "Broker: The group is not empty";
    GROUP_ID_NOT_FOUND = 69, "GroupIdNotFound", "Broker: The group id does not exist";
    FETCH_SESSION_ID_NOT_FOUND = 70, "FetchSessionIdNotFound", "Broker: The fetch session ID was not found";
    INVALID_FETCH_SESSION_EPOCH = 71, "InvalidFetchSessionEpoch", "Broker: The fetch session epoch is invalid";
    LISTENER_NOT_FOUND = 72, "ListenerNotFound", "Broker: No matching listener";
    TOPIC_DELETION_DISABLED = 73, "TopicDeletionDisabled", "Broker: Topic deletion is disabled";
    FENCED_LEADER_EPOCH = 74, "FencedLeaderEpoch", "Broker: Leader epoch is older than broker epoch";
    UNKNOWN_LEADER_EPOCH = 75, "UnknownLeaderEpoch", "Broker: Leader epoch is newer than broker epoch";
    UNSUPPORTED_COMPRESSION_TYPE = 76, "UnsupportedCompressionType", "Broker: Unsupported compression type";
    STALE_BROKER_EPOCH = 77, "StaleBrokerEpoch", "Broker: Broker epoch has changed";
    OFFSET_NOT_AVAILABLE = 78, "OffsetNotAvailable", "Broker: Leader high watermark is not caught up";
    MEMBER_ID_REQUIRED = 79, "MemberIdRequired", "Broker: Group member needs a valid member ID";
    PREFERRED_LEADER_NOT_AVAILABLE = 80, "PreferredLeaderNotAvailable", "Broker: Preferred leader was not available";
    GROUP_MAX_SIZE_REACHED = 81, "GroupMaxSizeReached", "Broker: Consumer group has reached maximum size";
    FENCED_INSTANCE_ID = 82, "FencedInstanceId", "Broker: Static consumer fenced by other consumer with same group.instance.id";
    ELIGIBLE_LEADERS_NOT_AVAILABLE = 83, "EligibleLeadersNotAvailable", "Broker: Eligible partition leaders are not available";
    ELECTION_NOT_NEEDED = 84, "ElectionNotNeeded", "Broker: Leader election not needed for topic partition";
    NO_REASSIGNMENT_IN_PROGRESS = 85, "NoReassignmentInProgress", "Broker: No partition reassignment is in progress";
    GROUP_SUBSCRIBED_TO_TOPIC = 86, "GroupSubscribedToTopic", "Broker: Deleting offsets of a topic while the consumer group is subscribed to it";
    INVALID_RECORD = 87, "InvalidRecord", "Broker: Broker failed to validate record";
    UNSTABLE_OFFSET_COMMIT = 88, "UnstableOffsetCommit", "Broker: There are unstable offsets that need to be cleared";
    THROTTLING_QUOTA_EXCEEDED = 89, "ThrottlingQuotaExceeded", "Broker: Throttling quota has been exceeded";
    PRODUCER_FENCED = 90, "ProducerFenced", "Broker: There is a newer producer with the same transactionalId which fences the current one";
    RESOURCE_NOT_FOUND = 91, "ResourceNotFound", "Broker: Request illegally referred to resource that does not exist";
    DUPLICATE_RESOURCE = 92, "DuplicateResource", "Broker: Request illegally referred to the same resource twice";
    UNACCEPTABLE_CREDENTIAL = 93, "UnacceptableCredential", "Broker: Requested credential would not meet criteria for acceptability";
    INCONSISTENT_VOTER_SET = 94, "InconsistentVoterSet", "Broker: Indicates that the either the sender or recipient of a voter-only request is not one of the expected voters";
    INVALID_UPDATE_VERSION = 95, "InvalidUpdateVersion", "Broker: Invalid update version";
    FEATURE_UPDATE_FAILED = 96, "FeatureUpdateFailed", "Broker: Unable to update finalized features due to server error";
    PRINCIPAL_DESERIALIZATION_FAILURE = 97, "PrincipalDeserializationFailure", "Broker: Request principal deserialization failed during forwarding";
    UNKNOWN_TOPIC_ID = 100, "UnknownTopicId", "Broker: Unknown topic id";
    FENCED_MEMBER_EPOCH = 110, "FencedMemberEpoch", "Broker: The member epoch is fenced by the group coordinator";
    UNRELEASED_INSTANCE_ID = 111, "UnreleasedInstanceId", "Broker: The instance ID is still used by another member in the consumer group";
    UNSUPPORTED_ASSIGNOR = 112, "UnsupportedAssignor", "Broker: The assignor or its version range is not supported by the consumer group";
    STALE_MEMBER_EPOCH = 113, "StaleMemberEpoch", "Broker: The member epoch is stale";
    UNKNOWN_SUBSCRIPTION_ID = 117, "UnknownSubscriptionId", "Broker: Client sent a push telemetry request with an invalid or outdated subscription ID";
    TELEMETRY_TOO_LARGE = 118, "TelemetryTooLarge", "Broker: Client sent a push telemetry request larger than the maximum size the broker will accept";
    REBOOTSTRAP_REQUIRED = 129, "RebootstrapRequired", "Broker: Client metadata is stale, client should rebootstrap to obtain new metadata";
    LOCAL_DESTROY_BROKER = -137, "LocalDestroyBroker", "Local: Broker handle destroyed without termination";
    LOCAL_INVALID_DIFFERENT_RECORD = -138, "LocalInvalidDifferentRecord", "Local: an invalid record in the same batch caused the failure of this message too";
    LOCAL_LOG_TRUNCATION = -139, "LocalLogTruncation", "Local: Partition log truncation detected";
    LOCAL_AUTO_OFFSET_RESET = -140, "LocalAutoOffsetReset", "Local: No offset to automatically reset to";
    LOCAL_NOOP = -141, "LocalNoop", "Local: No operation performed";
    LOCAL_ASSIGNMENT_LOST = -142, "LocalAssignmentLost", "Local: Group partition assignment lost";
    LOCAL_APPLICATION = -143, "LocalApplication", "Local: Application generated error";
    LOCAL_FENCED = -144, "LocalFenced", "Local: This instance has been fenced by a newer instance";
    LOCAL_NOT_CONFIGURED = -145, "LocalNotConfigured", "Local: Functionality not configured";
    LOCAL_UNKNOWN_BROKER = -146, "LocalUnknownBroker", "Local: Unknown broker";
    LOCAL_MAX_POLL_EXCEEDED = -147, "LocalMaxPollExceeded", "Local: Maximum application poll interval (max.poll.interval.ms) exceeded";
    LOCAL_GAPLESS_GUARANTEE = -148, "LocalGaplessGuarantee", "Local: Gap-less ordering would not be guaranteed if proceeding";
    LOCAL_INCONSISTENT = -149, "LocalInconsistent", "Local: Inconsistent state";
    LOCAL_FATAL = -150, "LocalFatal", "Local: Fatal error";
    LOCAL_PURGE_INFLIGHT = -151, "LocalPurgeInflight", "Local: Purged in flight";
    LOCAL_PURGE_QUEUE = -152, "LocalPurgeQueue", "Local: Purged in queue";
    LOCAL_RETRY = -153, "LocalRetry", "Local: Retry operation";
    LOCAL_INVALID_TYPE = -154, "LocalInvalidType", "Local: Invalid type";
    LOCAL_UNDERFLOW = -155, "LocalUnderflow", "Local: Read underflow";
    LOCAL_NOENT = -156, "LocalNoent", "Local: No such entry";
    LOCAL_READ_ONLY = -157, "LocalReadOnly", "Local: Read-only object";
    LOCAL_PARTIAL = -158, "LocalPartial", "Local: Partial response";
    LOCAL_VALUE_DESERIALIZATION = -159, "LocalValueDeserialization", "Local: Value deserialization error";
    LOCAL_KEY_DESERIALIZATION = -160, "LocalKeyDeserialization", "Local: Key deserialization error";
    LOCAL_VALUE_SERIALIZATION = -161, "LocalValueSerialization", "Local: Value serialization error";
    LOCAL_KEY_SERIALIZATION = -162, "LocalKeySerialization", "Local: Key serialization error";
    LOCAL_INTR = -163, "LocalIntr", "Local: Operation interrupted";
    LOCAL_WAIT_CACHE = -164, "LocalWaitCache", "Local: Awaiting cache update";
    LOCAL_UNSUPPORTED_FEATURE = -165, "LocalUnsupportedFeature", "Local: Required feature not supported by broker";
    LOCAL_TIMED_OUT_QUEUE = -166, "LocalTimedOutQueue", "Local: Timed out in queue";
    LOCAL_OUTDATED = -167, "LocalOutdated", "Local: Outdated";
    LOCAL_NO_OFFSET = -168, "LocalNoOffset", "Local: No offset stored";
    LOCAL_AUTHENTICATION = -169, "LocalAuthentication", "Local: Authentication failure";
    LOCAL_NOT_IMPLEMENTED = -170, "LocalNotImplemented", "Local: Not implemented";
    LOCAL_UNKNOWN_PROTOCOL = -171, "LocalUnknownProtocol", "Local: Unknown protocol";
    LOCAL_STATE = -172, "LocalState", "Local: Erroneous state";
    LOCAL_CONFLICT = -173, "LocalConflict", "Local: Conflicting use";
    LOCAL_REVOKE_PARTITIONS = -174, "LocalRevokePartitions", "Local: Revoke partitions";
    LOCAL_ASSIGN_PARTITIONS = -175, "LocalAssignPartitions", "Local: Assign partitions";
    LOCAL_EXISTING_SUBSCRIPTION = -176, "LocalExistingSubscription", "Local: Existing subscription";
    LOCAL_PREV_IN_PROGRESS = -177, "LocalPrevInProgress", "Local: Previous operation in progress";
    LOCAL_IN_PROGRESS = -178, "LocalInProgress", "Local: Operation in progress";
    LOCAL_UNKNOWN_GROUP = -179, "LocalUnknownGroup", "Local: Unknown group";
    LOCAL_WAIT_COORD = -180, "LocalWaitCoord", "Local: Waiting for coordinator";
    LOCAL_SSL = -181, "LocalSsl", "Local: SSL error";
    LOCAL_NODE_UPDATE = -182, "LocalNodeUpdate", "Local: Broker node update";
    LOCAL_ISR_INSUFF = -183, "LocalIsrInsuff", "Local: ISR count insufficient";
    LOCAL_QUEUE_FULL = -184, "LocalQueueFull", "Local: Queue full";
    LOCAL_TIMED_OUT = -185, "LocalTimedOut", "Local: Timed out";
    LOCAL_INVALID_ARG = -186, "LocalInvalidArg", "Local: Invalid argument or configuration";
    LOCAL_ALL_BROKERS_DOWN = -187, "LocalAllBrokersDown", "Local: All broker connections are down";
    LOCAL_UNKNOWN_TOPIC = -188, "LocalUnknownTopic", "Local: Unknown topic";
    LOCAL_FS = -189, "LocalFs", "Local: File or filesystem error";
    LOCAL_UNKNOWN_PARTITION = -190, "LocalUnknownPartition", "Local: Unknown partition";
    LOCAL_PARTITION_EOF = -191, "LocalPartitionEof", "Broker: No more messages";
    LOCAL_MSG_TIMED_OUT = -192, "LocalMsgTimedOut", "Local: Message timed out";
    LOCAL_RESOLVE = -193, "LocalResolve", "Local: Host resolution failure";
    LOCAL_CRIT_SYS_RESOURCE = -194, "LocalCritSysResource", "Local: Critical system resource failure";
    LOCAL_TRANSPORT = -195, "LocalTransport", "Local: Broker transport failure";
    LOCAL_FAIL = -196, "LocalFail", "Local: Communication failure with broker";
    LOCAL_DESTROY = -197, "LocalDestroy", "Local: Broker handle destroyed for termination";
    LOCAL_BAD_COMPRESSION = -198, "LocalBadCompression", "Local: Invalid compressed data";
    LOCAL_BAD_MSG = -199, "LocalBadMsg", "Local: Bad message format";
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn s39_codes_have_names_and_those_without_are_shown_by_number() {
        assert_eq!(
            format!("{} {:?}", ErrorCode::LOCAL_MSG_TIMED_OUT, ErrorCode::new(19)),
            "LocalMsgTimedOut (-192) NotEnoughReplicas (19)"
        );
        assert_eq!(format!("{}", ErrorCode::new(9_999)), "an error without a name here (9999)");
        assert_eq!((ErrorCode::new(9_999).name(), ErrorCode::new(9_999).is_retriable()), (None, false));
        assert!(ErrorCode::REQUEST_TIMED_OUT.is_retriable() && !ErrorCode::MSG_SIZE_TOO_LARGE.is_retriable());
    }

    #[test]
    fn a_constant_has_its_own_name() {
        for Entry { name, constant, .. } in TABLE {
            let words = constant.split('_').map(|word| (word.split_at(1).0, word.split_at(1).1.to_ascii_lowercase()));
            assert_eq!(*name, words.map(|(first, rest)| format!("{first}{rest}")).collect::<alloc::string::String>());
        }
    }

    #[test]
    fn a_number_has_one_name() {
        let all = || ErrorCode::all().enumerate();
        for (at, code) in all() {
            assert!(all().all(|(other, same)| at == other || (same != code && same.name() != code.name())), "{code}");
        }
    }
}
