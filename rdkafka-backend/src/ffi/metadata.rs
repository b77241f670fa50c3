//! Metadata of the cluster, and queries that show whether brokers answer.

use std::ffi::{CString, c_char, c_int};
use std::mem::offset_of;
use std::{ptr, slice};

use aioproducer_core::backend::{
    Broker, CallError, ErrorCode, Metadata, MetadataError, PartitionMetadata, TopicMetadata,
};
use rdkafka_sys as sys;

use super::client::Client;
use super::text::text;
use super::topic::Topic;
use crate::{failure, topic_name};

unsafe extern "C" {
    /// The bindings' function, with the error as a number: brokers may send codes that the bindings' enum lacks.
    #[link_name = "rd_kafka_metadata"]
    fn rd_kafka_metadata_number(
        client: *mut sys::rd_kafka_t,
        all_topics: c_int,
        only: *mut sys::rd_kafka_topic_t,
        metadata: *mut *const sys::rd_kafka_metadata,
        timeout_ms: c_int,
    ) -> c_int;
}

/// `rd_kafka_metadata_topic`, with the error as a number.
#[repr(C)]
struct RawTopic {
    name: *const c_char,
    count: c_int,
    partitions: *const RawPartition,
    err: c_int,
}

/// `rd_kafka_metadata_partition`, with the error as a number.
#[repr(C)]
struct RawPartition {
    id: i32,
    err: c_int,
    leader: i32,
    replica_count: c_int,
    replicas: *const i32,
    in_sync_count: c_int,
    in_sync: *const i32,
}

const _: () = {
    assert!(size_of::<RawTopic>() == size_of::<sys::rd_kafka_metadata_topic>());
    assert!(offset_of!(RawTopic, count) == offset_of!(sys::rd_kafka_metadata_topic, partition_cnt));
    assert!(offset_of!(RawTopic, partitions) == offset_of!(sys::rd_kafka_metadata_topic, partitions));
    assert!(offset_of!(RawTopic, err) == offset_of!(sys::rd_kafka_metadata_topic, err));
    assert!(size_of::<RawPartition>() == size_of::<sys::rd_kafka_metadata_partition>());
    assert!(offset_of!(RawPartition, err) == offset_of!(sys::rd_kafka_metadata_partition, err));
    assert!(offset_of!(RawPartition, leader) == offset_of!(sys::rd_kafka_metadata_partition, leader));
    assert!(offset_of!(RawPartition, replica_count) == offset_of!(sys::rd_kafka_metadata_partition, replica_cnt));
    assert!(offset_of!(RawPartition, replicas) == offset_of!(sys::rd_kafka_metadata_partition, replicas));
    assert!(offset_of!(RawPartition, in_sync_count) == offset_of!(sys::rd_kafka_metadata_partition, isr_cnt));
    assert!(offset_of!(RawPartition, in_sync) == offset_of!(sys::rd_kafka_metadata_partition, isrs));
};

impl<R> Client<R> {
    /// Requests the metadata of one topic or of all topics.
    ///
    /// A topic's handle stays until the client's end, and librdkafka refreshes its partitions all that time. So no handle is
    /// created for a topic without records: metadata of all topics are requested, and the other topics are removed.
    pub(crate) fn metadata(&self, topic: Option<&str>, timeout_ms: i32) -> Result<Metadata, CallError> {
        let Some(name) = topic else { return self.request_metadata(None, timeout_ms) };
        topic_name::check(name).map_err(|reason| failure::call(failure::INVALID_ARGUMENT, &reason))?;
        if let Some(Some(topic)) = self.known_topic(name) {
            return self.request_metadata(Some(&topic), timeout_ms);
        }
        let mut metadata = self.request_metadata(None, timeout_ms)?;
        metadata.topics.retain(|topic| topic.name == name);
        if metadata.topics.is_empty() {
            let error = error(failure::UNKNOWN_TOPIC_OR_PARTITION);
            let mut unknown = TopicMetadata::new(name);
            unknown.error = error;
            metadata.topics.push(unknown);
        }
        Ok(metadata)
    }

    /// Whether a broker has answered, or does so in time (`rd_kafka_clusterid`). This sends no request.
    pub(crate) fn has_cluster_id(&self, timeout_ms: i32) -> bool {
        // SAFETY: the client is alive.
        let id = unsafe { sys::rd_kafka_clusterid(self.ptr(), timeout_ms) };
        if id.is_null() {
            return false;
        }
        // SAFETY: freed once, and it came from this client.
        unsafe { sys::rd_kafka_mem_free(self.ptr(), id.cast()) };
        true
    }

    /// Queries the first and the next offset from the partition's leader (`rd_kafka_query_watermark_offsets`).
    pub(crate) fn query_offsets(&self, topic: &str, partition: i32, timeout_ms: i32) -> Result<(i64, i64), CallError> {
        let invalid = |_| failure::call(failure::INVALID_ARGUMENT, "the topic name contains a NUL byte");
        let name = CString::new(topic).map_err(invalid)?;
        let (mut low, mut high) = (0, 0);
        // SAFETY: the client is alive, the name is a C string, and the pointers are valid for writing.
        let code = unsafe {
            sys::rd_kafka_query_watermark_offsets(
                self.ptr(),
                name.as_ptr(),
                partition,
                &raw mut low,
                &raw mut high,
                timeout_ms,
            )
        } as i32;
        if code == 0 { Ok((low, high)) } else { Err(failure::call(code, failure::text(code))) }
    }

    /// Requests the metadata of a topic that has a handle, or of all topics (`rd_kafka_metadata`).
    pub(crate) fn request_metadata(&self, topic: Option<&Topic>, timeout_ms: i32) -> Result<Metadata, CallError> {
        let only = topic.map_or(ptr::null_mut(), |topic| topic.handle(self.ptr()));
        let mut metadata = ptr::null();
        let all = c_int::from(topic.is_none());
        // SAFETY: client and topic are alive; the pointer is valid for writing.
        let code = unsafe { rd_kafka_metadata_number(self.ptr(), all, only, &raw mut metadata, timeout_ms) };
        if code != 0 || metadata.is_null() {
            let retriable = [failure::TIMED_OUT, failure::TRANSPORT].contains(&code);
            return Err(failure::call(code, failure::text(code)).with_retriable(retriable));
        }
        // SAFETY: the call succeeded, so it is valid until it is destroyed below.
        let answer = unsafe { &*metadata };
        // SAFETY: it comes from librdkafka and is alive.
        let copy = unsafe { read(answer) };
        // SAFETY: destroyed once.
        unsafe { sys::rd_kafka_metadata_destroy(metadata) };
        Ok(copy)
    }
}

/// # Safety
/// `metadata` comes from librdkafka, and everything that it points to is alive.
unsafe fn read(metadata: &sys::rd_kafka_metadata) -> Metadata {
    // SAFETY: an array and its length.
    let brokers = unsafe { array(metadata.brokers.cast_const(), metadata.broker_cnt) };
    // SAFETY: as above; `RawTopic` has the layout of the entries.
    let topics = unsafe { array(metadata.topics.cast_const().cast::<RawTopic>(), metadata.topic_cnt) };
    let broker = |broker: &sys::rd_kafka_metadata_broker| {
        // SAFETY: a C string.
        let host = unsafe { text(broker.host) }.unwrap_or_default();
        Broker::new(broker.id, host, u16::try_from(broker.port).unwrap_or_default())
    };
    let topic = |topic: &RawTopic| {
        // SAFETY: an array and its length.
        let partitions = unsafe { array(topic.partitions, topic.count) };
        // SAFETY: a C string.
        let mut read = TopicMetadata::new(unsafe { text(topic.name) }.unwrap_or_default());
        read.error = error(topic.err);
        // SAFETY: everything that a partition points to is alive.
        read.partitions = partitions.iter().map(|partition| unsafe { read_partition(partition) }).collect();
        read
    };
    let mut read = Metadata::default();
    read.answered_by = (metadata.orig_broker_id >= 0).then_some(metadata.orig_broker_id);
    read.brokers = brokers.iter().map(broker).collect();
    read.topics = topics.iter().map(topic).collect();
    read
}

/// # Safety
/// As for [`read`].
unsafe fn read_partition(partition: &RawPartition) -> PartitionMetadata {
    // SAFETY: an array and its length.
    let replicas = unsafe { array(partition.replicas, partition.replica_count) };
    // SAFETY: as above.
    let in_sync = unsafe { array(partition.in_sync, partition.in_sync_count) };
    let mut read = PartitionMetadata::new(partition.id);
    read.error = error(partition.err);
    read.leader = (partition.leader >= 0).then_some(partition.leader);
    (read.replicas, read.in_sync) = (replicas.to_vec(), in_sync.to_vec());
    read
}

fn error(code: c_int) -> Option<MetadataError> {
    (code != 0).then(|| MetadataError::new(ErrorCode::new(code), failure::text(code)))
}

/// # Safety
/// `values` points to `count` values that do not change while the slice is used, or there are none.
unsafe fn array<'a, T>(values: *const T, count: c_int) -> &'a [T] {
    match usize::try_from(count) {
        // SAFETY: by this function's contract.
        Ok(count) if count > 0 && !values.is_null() => unsafe { slice::from_raw_parts(values, count) },
        _ => &[],
    }
}
