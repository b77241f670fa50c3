//! The application's calls, against an embedded broker.

use std::time::Duration;

use aioproducer::EmbeddedBroker;
use aioproducer_outside::{Order, copy, leaders, note, place, place_all, place_in_background, shed, start};
use anyhow::Result;

fn order(customer: u32) -> Order {
    Order { customer, items: vec!["apple".into(), "pear".into()] }
}

#[tokio::test]
async fn an_application_outside_of_the_workspace_does_its_work() -> Result<()> {
    let broker = EmbeddedBroker::start()?;
    broker.create_topic("orders", 5, 1)?;
    broker.create_topic("lines", 1, 1)?;
    let producer = start(broker.bootstrap_servers())?;
    note(&producer, 7)?;
    assert_eq!(shed(&producer, &[vec![1], vec![2]])?, 2);
    assert_eq!(place(&producer, order(8)).await?, 3);
    assert_eq!(place_in_background(&producer, order(9)).await??, 4);
    assert_eq!(place_all(&producer, (0..100).map(order).collect()).await?, 100);
    assert_eq!(copy(&producer, "one\ntwo\nthree").await?, [Some(0), Some(1), Some(2)]);
    assert_eq!(leaders(&producer, "orders").await?, [Some(1); 5]);
    let unknown = leaders(&producer, "nowhere").await.expect_err("it does not exist");
    assert!(format!("{unknown:#}").contains("no topic \"nowhere\""), "{unknown:#}");
    assert!(producer.close(Duration::from_secs(10)).await.is_complete());
    Ok(())
}
