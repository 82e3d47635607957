//! A real cluster of three nodes, one of which fails.

use std::{sync::Arc, time::Duration};

use super::{
    redis_server::{Redis, cluster},
    whole::Gateway,
};
use crate::{
    limit::KeyHasher,
    policy::{StoreOnError as OnError, StoreServer},
    store::{Asks, Name, Refused, nodes::StoreNode},
};

/// A gateway with a cluster whose first node is about to fail.
struct World {
    gateway: Gateway,
    servers: Vec<Redis>,
}

impl World {
    /// Connects, and waits until all nodes have responded.
    async fn new(on_error: OnError, burst: u32) -> Self {
        let servers = cluster(3);
        let mut gateway = Gateway::new(&servers[0], 0, on_error, (1, burst));
        let settings = &mut Arc::get_mut(&mut gateway.store).unwrap().settings;
        settings.is_cluster = true;
        settings.timeout = Duration::from_millis(500);
        let server = settings.servers[0].clone();
        settings.servers = servers
            .iter()
            .map(|redis| StoreServer {
                port: redis.port,
                ..server.clone()
            })
            .collect();
        Arc::clone(&gateway.store).warm_up().await;
        let world = Self { gateway, servers };
        for of in 0..3 {
            while world.gateway.decided(world.asks(of, 1)).await.is_err() {} // a busy machine may need several attempts
        }
        world
    }

    fn node(&self, of: usize) -> Arc<StoreNode> {
        let nodes = self.gateway.store.nodes.load();
        let name = format!("127.0.0.1:{}", self.servers[of].port);
        let mut each = nodes.as_ref().unwrap().each();
        Arc::clone(each.find(|node| *node.name == *name).unwrap())
    }

    /// A request for bucket number `of` among those of a node.
    fn asks(&self, of: usize, number: usize) -> Asks {
        let node = self.node(of);
        let mut of_node = (1..).filter_map(|name| {
            let mut asks = self.gateway.asks(1);
            let key = KeyHasher::with_seed([name, 2]).key("l").finish();
            (asks[0].name, asks[0].key) = (Name::from_raw(name.into()), key);
            Arc::ptr_eq(&self.gateway.store.node_of(&asks[0].store_key()), &node).then_some(asks)
        });
        of_node.nth(number).unwrap()
    }

    fn both(&self, number: usize) -> Asks {
        self.asks(1, number)
            .into_iter()
            .chain(self.asks(0, number))
            .collect()
    }

    /// Sends requests to the first node until it is left alone. Requests to the
    /// others are decided by the store meanwhile.
    async fn until_first_is_left_alone(&self) {
        for number in 10..30 {
            let (asked, one, other) = tokio::join!(
                self.gateway.decided(self.asks(0, number)),
                self.gateway.decided(self.asks(1, number)),
                self.gateway.decided(self.asks(2, number)),
            );
            assert!(
                asked.is_err() && one.is_ok() && other.is_ok(),
                "{number}: {asked:?} {one:?} {other:?}"
            );
            if self.node(0).circuit.is_open() {
                return;
            }
        }
        panic!("an unreachable node is not left alone");
    }

    fn open(&self) -> [bool; 4] {
        let whole = self.gateway.store.whole.circuit.is_open();
        [
            whole,
            self.node(0).circuit.is_open(),
            self.node(1).circuit.is_open(),
            self.node(2).circuit.is_open(),
        ]
    }
}

#[tokio::test]
async fn a_dead_node_affects_only_its_own_keys() {
    let mut world = World::new(OnError::Deny, 4).await;
    world.servers[0].kill();
    world.until_first_is_left_alone().await;
    assert_eq!(world.open(), [false, true, false, false]);
    for number in 50..60 {
        for of in [1, 2] {
            assert!(world.gateway.decided(world.asks(of, number)).await.is_ok());
        }
        let refused = world
            .gateway
            .decided(world.asks(0, number))
            .await
            .unwrap_err();
        assert!(matches!(refused, Refused::Unavailable { .. }));
    }
    for _ in 0..9 {
        let refused = world.gateway.decided(world.both(70)).await.unwrap_err();
        assert!(
            matches!(refused, Refused::Unavailable { .. }),
            "one of two limits is on that node"
        );
    }
    let left = world
        .gateway
        .decided(world.asks(1, 70))
        .await
        .unwrap()
        .standings()
        .next()
        .flatten()
        .unwrap();
    assert_eq!(left.remaining, 3, "the other bucket lost nothing");
    world.servers[0].restart();
    let probe = world.node(0).probe.lock().take().unwrap();
    probe.await.unwrap();
    assert_eq!(world.open(), [false; 4]);
    // The connection is established again in the background.
    while world.gateway.decided(world.asks(0, 80)).await.is_err() {}
}

#[tokio::test]
async fn a_hanging_node_affects_only_its_own_keys() {
    let world = World::new(OnError::Deny, 4).await;
    world.servers[0].hang();
    world.until_first_is_left_alone().await;
    assert_eq!(world.open(), [false, true, false, false]);
    let reported = world
        .gateway
        .store
        .standing(&[world.asks(0, 1).remove(0), world.asks(1, 1).remove(0)])
        .await;
    assert_eq!(
        reported.iter().map(Option::is_some).collect::<Vec<_>>(),
        [false, true]
    );
    assert!(
        !world.gateway.store.fill(&world.asks(0, 1)[0]).await
            && world.gateway.store.fill(&world.asks(1, 1)[0]).await
    );
    world.servers[0].go_on();
    let probe = world.node(0).probe.lock().take().unwrap();
    probe.await.unwrap();
    while world.gateway.decided(world.asks(0, 80)).await.is_err() {}
    assert_eq!(world.open(), [false; 4]);
}

#[tokio::test]
async fn on_error_applies_only_to_the_limit_on_the_dead_node() {
    for on_error in [OnError::Local, OnError::Allow] {
        let world = World::new(on_error, 3).await;
        assert!(world.node(0).circuit.open());
        for left in [2, 1] {
            let admission = world.gateway.decided(world.both(9)).await.unwrap();
            let left_of: Vec<_> = admission
                .standings()
                .map(|standing| standing.map(|standing| standing.remaining))
                .collect();
            let alone = (on_error == OnError::Local).then_some(left);
            assert_eq!(left_of, [Some(left), alone]);
            assert_eq!(admission.take_apart().count(), 2);
        }
        world
            .gateway
            .decided(world.both(9))
            .await
            .unwrap()
            .refund(&world.gateway.store);
        world.gateway.settle().await;
        assert!(
            world.gateway.decided(world.asks(1, 9)).await.is_ok(),
            "the refund has reached the store"
        );
        let Refused::Limits(refusal) = world.gateway.decided(world.both(9)).await.unwrap_err()
        else {
            panic!()
        };
        assert_eq!(
            (refusal.index, refusal.refused),
            (0, 1),
            "the store's limit is used up"
        );
        let alone = world.gateway.decided(world.asks(0, 9)).await;
        assert!(alone.is_ok(), "the other limit loses nothing");
        if on_error == OnError::Local {
            let mut asks = world.both(9);
            asks[0] = world.asks(1, 40).remove(0);
            let Refused::Limits(refusal) = world.gateway.decided(asks).await.unwrap_err() else {
                panic!()
            };
            assert_eq!(
                (refusal.index, refusal.refused),
                (1, 2),
                "the gateway's own bucket is used up"
            );
            assert_eq!(
                world
                    .gateway
                    .decided(world.asks(1, 40))
                    .await
                    .unwrap()
                    .standings()
                    .next()
                    .flatten()
                    .unwrap()
                    .remaining,
                2
            );
        }
    }
}

#[tokio::test]
async fn on_error_applies_only_to_requests_that_a_node_did_not_answer() {
    let world = World::new(OnError::Local, 3).await;
    world.servers[0].hang();
    let admission = world.gateway.decided(world.both(9)).await.unwrap();
    world.servers[0].go_on();
    assert_eq!(
        admission
            .standings()
            .flatten()
            .map(|standing| standing.remaining)
            .collect::<Vec<_>>(),
        [2, 2]
    );
    let left = world
        .gateway
        .decided(world.asks(1, 9))
        .await
        .unwrap()
        .standings()
        .next()
        .flatten()
        .unwrap();
    assert_eq!((left.remaining, world.open()), (1, [false; 4]));
}
