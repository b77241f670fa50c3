//! The consumer group of a consumer.

use aioproducer_core::backend::Group;
use rdkafka::consumer::{Consumer, ConsumerContext};
use rdkafka_sys as sys;

use super::calls::GroupMetadata;
use super::text::text;

/// The group of a consumer for `Transaction::send_offsets`, with the current generation and member id; `None` for a consumer
/// without `group.id`.
///
/// A rebalance changes the generation, so call this for each transaction. librdkafka answers at once, without a broker
/// (`rd_kafka_consumer_group_metadata`).
///
/// ```
/// use aioproducer_rdkafka::{ClientConfig, consumer_group};
/// use rdkafka::consumer::BaseConsumer;
///
/// let consumer: BaseConsumer =
///     ClientConfig::new().set("bootstrap.servers", "localhost:1").set("group.id", "billing").create()?;
/// let group = consumer_group(&consumer).expect("a group.id");
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
    let member = unsafe { text(member) }.filter(|member| !member.is_empty());
    // SAFETY: as above.
    let instance = unsafe { text(instance) };
    let mut group = Group::new(id);
    (group.generation, group.member, group.instance) = ((generation >= 0).then_some(generation), member, instance);
    Some(group)
}
