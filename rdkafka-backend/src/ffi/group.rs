//! A consumer's place in its group.

use std::ffi::{CStr, c_char};

use aioproducer_core::backend::Group;
use rdkafka::consumer::{Consumer, ConsumerContext};
use rdkafka_sys as sys;

use super::calls::GroupMetadata;

/// The group of a consumer, with its generation and the consumer's member id as they are now, for
/// `Transaction::send_offsets`; `None` of a consumer without `group.id`.
///
/// After a rebalance it is another one, so it is to be asked for each time. It asks librdkafka's own thread
/// (`rd_kafka_consumer_group_metadata`), which answers in a moment and without any broker.
///
/// ```
/// use aioproducer_rdkafka::{ClientConfig, consumer_group};
/// use rdkafka::consumer::BaseConsumer;
///
/// let consumer: BaseConsumer =
///     ClientConfig::new().set("bootstrap.servers", "localhost:1").set("group.id", "billing").create()?;
/// let group = consumer_group(&consumer).expect("it has a group");
/// assert_eq!(group.id, "billing");
/// # Ok::<(), rdkafka::error::KafkaError>(())
/// ```
pub fn consumer_group<C: ConsumerContext>(consumer: &impl Consumer<C>) -> Option<Group> {
    // SAFETY: the consumer's client is alive.
    let metadata = unsafe { sys::rd_kafka_consumer_group_metadata(consumer.client().native_ptr()) };
    if metadata.is_null() {
        return None;
    }
    let metadata = GroupMetadata(metadata);
    // SAFETY: the metadata is valid.
    let id = unsafe { sys::rd_kafka_consumer_group_metadata_group_id(metadata.0) };
    // SAFETY: as above.
    let member = unsafe { sys::rd_kafka_consumer_group_metadata_member_id(metadata.0) };
    // SAFETY: as above.
    let instance = unsafe { sys::rd_kafka_consumer_group_metadata_group_instance_id(metadata.0) };
    // SAFETY: as above.
    let generation = unsafe { sys::rd_kafka_consumer_group_metadata_generation_id(metadata.0) };
    // SAFETY: a C string that lives as long as the metadata, or null.
    let id = unsafe { text(id) }.unwrap_or_default();
    // SAFETY: as above.
    let member = unsafe { text(member) }.unwrap_or_default();
    // SAFETY: as above.
    let instance = unsafe { text(instance) };
    Some(Group { id, generation, member, instance })
}

/// # Safety
/// `value` is null or a C string.
unsafe fn text(value: *const c_char) -> Option<String> {
    if value.is_null() {
        return None;
    }
    // SAFETY: by this function's contract.
    let value = unsafe { CStr::from_ptr(value) };
    Some(value.to_string_lossy().into_owned())
}
