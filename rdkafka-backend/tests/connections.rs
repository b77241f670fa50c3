//! The backend says what is connected: nothing is sent while no connection is up and none was made.

mod common;

use aioproducer_core::backend::Connections;
use aioproducer_rdkafka::{EmbeddedBroker, Librdkafka};
use common::{NOT_PERSISTED, Rec, Rig, TOPIC, broker, client, consume, eventually, failure};

fn connections(rig: &Rig) -> Connections {
    rig.backend.connections().expect("librdkafka reports them")
}

#[test]
fn a_record_is_delivered_only_after_a_connection_was_made() {
    let broker = broker(1);
    broker.broker_down(-1).unwrap();
    let rig = Rig::new(&[], &broker, 1, 100);
    for round in 0..5 {
        let dark = connections(&rig);
        assert_eq!(dark.up, 0, "round {round}");
        assert_eq!(dark.made == 0, round == 0, "round {round}: {dark:?}");
        rig.send([Rec::new(round).to(0)]);
        rig.wait_handed_off(1);
        assert_eq!(connections(&rig), dark, "round {round}: no broker is there");
        broker.broker_up(-1).unwrap();
        rig.wait(round as usize + 1);
        let bright = connections(&rig);
        assert!(bright.up >= 1 && bright.made > dark.made, "round {round}: {dark:?}, {bright:?}");
        broker.broker_down(-1).unwrap();
        eventually("all connections are down", || connections(&rig).up == 0);
    }
    broker.broker_up(-1).unwrap();
    let results = rig.end();
    assert!(results.values().all(Result::is_ok), "{results:?}");
    assert_eq!(consume(&broker, 1, 5).len(), 5);
}

#[test]
fn each_broker_counts_by_itself() {
    let broker = EmbeddedBroker::start_with(3).unwrap();
    broker.create_topic(TOPIC, 3, 1).unwrap();
    for partition in 0..3 {
        broker.partition_leader(TOPIC, partition, Some(partition + 1)).unwrap();
    }
    let rig = Rig::new(&[], &broker, 1, 100);
    rig.send((0..3).map(|id| Rec::new(id).to(id as i32)));
    rig.wait(3);
    // One for each leader, and possibly those that the cluster was asked with.
    let before = connections(&rig);
    assert!(before.up >= 3 && before.made >= u64::from(before.up), "{before:?}");
    broker.broker_down(1).unwrap();
    eventually("one broker is down", || connections(&rig).up < before.up);
    broker.broker_down(2).unwrap();
    let one_left = |up| (1..before.up - 1).contains(&up);
    eventually("two brokers are down", || one_left(connections(&rig).up));
    rig.send([Rec::new(3).to(2)]);
    rig.wait(4);
    assert!(connections(&rig).up >= 1, "a record was delivered over it");
    broker.broker_down(3).unwrap();
    eventually("all brokers are down", || connections(&rig).up == 0);
    rig.end();
}

#[test]
fn a_connection_without_its_login_does_not_count() {
    // The embedded broker knows no logins, so it ends the connection there.
    let broker = broker(1);
    let config = client(
        broker.bootstrap_servers(),
        &[
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanisms", "PLAIN"),
            ("sasl.username", "somebody"),
            ("sasl.password", "secret"),
        ],
    );
    let rig = Rig::with(Librdkafka::new(config), 100, &[TOPIC]);
    rig.send([Rec::new(0).to(0)]);
    rig.wait_handed_off(1);
    rig.wait_for_trouble();
    assert_eq!(connections(&rig), Connections { up: 0, made: 0 });
    assert_eq!(failure(&rig.end(), 0).status, NOT_PERSISTED);
}

#[test]
fn a_connection_that_is_closed_as_idle_is_made_again() {
    let broker = broker(1);
    let rig = Rig::new(&[("connections.max.idle.ms", "100")], &broker, 1, 100);
    for round in 0..3 {
        rig.send([Rec::new(round).to(0)]);
        rig.wait(round as usize + 1);
        let before = connections(&rig);
        eventually("there is another one", || connections(&rig).made > before.made);
    }
    rig.end();
}

#[test]
fn an_end_leaves_no_connection() {
    let broker = broker(1);
    let rig = Rig::new(&[], &broker, 1, 100);
    rig.send([Rec::new(0).to(0)]);
    rig.wait(1);
    let backend = rig.backend.clone();
    let made = connections(&rig).made;
    rig.end();
    eventually("the client has ended", || backend.connections().is_some_and(|connections| connections.up == 0));
    assert!(backend.connections().is_some_and(|connections| connections.made >= made));
}
