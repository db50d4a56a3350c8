//! More children at once than a parent takes in.

use kraken_engine::{
    id::ClusterId,
    sync::{
        child::{Child, Effect},
        frame::{Frame, Heartbeat, RefusedReason},
        turnstile::{DEFER_MS_MAX, INSIDE_MAX},
    },
};

use super::*;
use crate::wire::{self, FrameReader, FrameWriter};

/// A child that says Hello and nothing more; and what it is answered.
async fn knock(parent: &str, number: usize) -> (Frame, (FrameReader, FrameWriter)) {
    let node = name(&format!("mute-{number}"));
    let identity = Identity { node, role: ChildRole::Leaf, labels: Labels::new() };
    let mut child = Child::new(identity, ClusterId::default(), Vec::new());
    let (mut reader, writer) = wire::split(TcpStream::connect(parent).await.unwrap());
    for effect in child.connected(Clock::new().wall()) {
        let Effect::Send(hello) = effect else { panic!("{effect:?}") };
        writer.send(&hello).unwrap();
    }
    let answer = timeout(BOUND, reader.next()).await.unwrap().unwrap().unwrap().0;
    (answer, (reader, writer))
}

#[actix_rt::test]
async fn whoever_finds_all_places_taken_is_told_when_to_come_back_and_gets_in() {
    let fixture = Fixture::start().await;
    let parent = fixture.parent();
    // Nodes can be registered once what they are was declared.
    let first = fixture.leaf(parent.clone()).await;
    fixture.until("n1", "a leaf attaches", |n1| n1.link.as_deref() == Some("UP")).await;
    first.stop().await;
    fixture.until("n1", "and goes", |n1| n1.link.as_deref() == Some("DOWN")).await;
    let mut inside = Vec::new();
    for number in 0..INSIDE_MAX {
        let (answer, held) = knock(&parent, number).await;
        assert!(matches!(answer, Frame::Welcome(_)), "{answer:?}");
        inside.push(held);
    }
    let (answer, _) = knock(&parent, INSIDE_MAX).await;
    let Frame::Refused(refused) = answer else { panic!("{answer:?}") };
    assert!(matches!(refused.reason, RefusedReason::Busy(1..=DEFER_MS_MAX)), "{refused:?}");

    // Those who live on and never come through lose their places.
    let leaf = fixture.leaf(parent).await;
    let beating = async {
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            tick.tick().await;
            let sent_ms = Clock::new().wall().get();
            let beat = Heartbeat { sent_ms, seq: 0, digest: 0, assurance: None };
            for (_, writer) in &inside {
                writer.send(&Frame::Heartbeat(beat)).unwrap();
            }
        }
    };
    let attached = fixture.until("n1", "the leaf attaches", |n1| n1.link.as_deref() == Some("UP"));
    tokio::select! {
        () = beating => {}
        _ = attached => {}
    }
    let shown = (fixture.member.observer())().await;
    assert!(shown["sync"]["downlink"]["deferred"].as_u64() >= Some(2), "{shown}");
    drop(inside);
    leaf.stop().await;
    fixture.member.stop().await;
}
