//! Mistakes in records.

use std::time::Duration;

use aioproducer_driver::{AioProducer, Record, SendError};

use super::table::{Chapter, mistake};

pub(crate) fn chapter() -> Chapter {
    Chapter {
        title: "Records",
        source: include_str!("records.rs"),
        mistakes: vec![
            mistake!(
                "A record that is too large",
                Produce,
                Send(too_large),
                names ["1000000 bytes", "`message.max.bytes` is 1000000"],
                tells ["raise that, or send less"],
            ),
            mistake!("A topic without a name", Produce, Send(no_topic), names["topic"], tells["empty"]),
            mistake!(
                "A topic's name with a blank",
                Produce,
                Send(a_blank_in_a_topic),
                names["' ' at byte 3"],
                tells["not one of a-z"],
            ),
            mistake!(
                "A partition before the first",
                Produce,
                Send(a_negative_partition),
                names["partition -1"],
                tells["is negative"],
            ),
            mistake!("A record after the close", Produce, Send(after_close), names["the producer"], tells["is closed"],),
            mistake!(
                "A partition after the last",
                Delivery,
                Send(an_unknown_partition),
                names["orders"],
                tells["nknown partition"],
            ),
            mistake!(
                "A topic that does not exist",
                Delivery,
                Send(an_unknown_topic),
                names["the topic `ordrs` does not exist"],
                tells["create it, or correct its name"],
            ),
            mistake!(
                "A topic that the login may not use",
                Delivery,
                Send(a_forbidden_topic),
                names["payroll"],
                tells["authorization failed"],
            ),
        ],
    }
}

async fn too_large(producer: AioProducer) -> Result<(), SendError> {
    producer.send(Record::to("orders").payload(vec![0; 1_000_000])).await.map(drop)
}

async fn no_topic(producer: AioProducer) -> Result<(), SendError> {
    producer.send(Record::to("").payload("two apples")).await.map(drop)
}

async fn a_blank_in_a_topic(producer: AioProducer) -> Result<(), SendError> {
    producer.send(Record::to("new orders").payload("two apples")).await.map(drop)
}

async fn a_negative_partition(producer: AioProducer) -> Result<(), SendError> {
    producer.send(Record::to("orders").partition(-1).payload("two apples")).await.map(drop)
}

async fn after_close(producer: AioProducer) -> Result<(), SendError> {
    producer.close(Duration::from_secs(10)).await;
    producer.send(Record::to("orders").payload("two apples")).await.map(drop)
}

async fn an_unknown_partition(producer: AioProducer) -> Result<(), SendError> {
    producer.send(Record::to("orders").partition(9).payload("two apples")).await.map(drop)
}

async fn an_unknown_topic(producer: AioProducer) -> Result<(), SendError> {
    producer.send(Record::to("ordrs").payload("two apples")).await.map(drop)
}

async fn a_forbidden_topic(producer: AioProducer) -> Result<(), SendError> {
    producer.send(Record::to("payroll").payload("two apples")).await.map(drop)
}
