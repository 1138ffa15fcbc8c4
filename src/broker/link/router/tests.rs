//! Links that come and go, and channels that move between them.

use super::super::core::tests::{EventRecorder, Histories, LIMITS, at, event_lines, name, names, payload};
use super::*;

/// A router with two links and two hubs.
struct Links {
    router: LinkRouter,
    metrics: Metrics,
    ids: [LinkId; 2],
    cores: [Arc<SharedLink>; 2],
    hubs: [(HubId, Arc<EventRecorder>); 2],
    server: Histories,
    now: Instant,
}

impl Links {
    /// The first hub is attached before the links are added, the second one after.
    fn new() -> Self {
        let metrics = Metrics::default();
        let router = LinkRouter::new(LIMITS, &metrics);
        let attach = || {
            let inbox = Arc::new(EventRecorder::default());
            (router.attach(Arc::clone(&inbox) as Arc<dyn Inbox>), inbox)
        };
        let first = attach();
        let links = [router.add(), router.add()];
        let hubs = [first, attach()];
        let (ids, cores) = (links.each_ref().map(|(id, _)| *id), links.map(|(_, link)| link));
        let (server, now) = (Histories::default(), Instant::now());
        Self { router, metrics, ids, cores, hubs, server, now }
    }

    /// Both links are up, and the first one owns all channels.
    fn up() -> Self {
        let links = Self::new();
        links.cores.iter().for_each(|core| core.lock().connected());
        links.own(0);
        links.clear();
        links
    }

    /// All channels belong to one link.
    fn own(&self, index: usize) {
        let id = self.ids[index];
        self.router.assign(Box::new(move |_| Some(id)));
    }

    /// How many wanted channels no link owns.
    fn unassigned(&self) -> usize {
        self.router.links.read().unassigned.lock().wanted()
    }

    fn run(&self) {
        self.cores.iter().for_each(|core| self.server.run(&mut core.lock(), self.now));
    }

    fn take(&self, hub: usize) -> Vec<String> {
        let events = std::mem::take(&mut *self.hubs[hub].1.events.lock().unwrap());
        events.iter().flat_map(event_lines).collect()
    }

    fn clear(&self) {
        (0..2).for_each(|hub| drop(self.take(hub)));
    }
}

#[test]
fn a_hub_has_one_id_in_all_links() {
    let links = Links::up();
    let (router, [(early, _), (late, _)]) = (&links.router, &links.hubs);
    for (index, channel) in ["room:1", "room:2"].into_iter().enumerate() {
        links.own(index);
        router.subscribe(*late, 1, names([channel]), false);
        links.run();
        assert_eq!(links.take(1).pop(), Some(format!("{channel} subscribed by 1 at 9-0")));
    }
    assert_eq!((early.index(), late.index(), links.take(0)), (0, 1, Vec::new()));
}

#[test]
fn hubs_learn_when_the_first_link_is_up_and_the_last_is_down() {
    let links = Links::new();
    assert_eq!((links.take(0), links.take(1)), (vec!["link down".to_owned()], vec!["link down".to_owned()]));
    let [first, second] = &links.cores;
    first.lock().connected();
    assert_eq!(links.take(0), ["link up"]);
    second.lock().connected();
    first.lock().disconnected();
    assert_eq!(links.take(0), Vec::<String>::new());
    // A connection of a removed link counts no longer.
    links.router.remove(links.ids[1]);
    second.lock().connected();
    assert_eq!(links.take(0), ["link down"]);
}

#[test]
fn a_channel_moves_to_its_new_owner_without_a_lost_message() {
    let mut links = Links::up();
    let hub = links.hubs[0].0;
    links.router.subscribe(hub, 1, names(["user:1", "room:1"]), false);
    links.run();
    assert!(links.router.receive("room:1", payload(Some(at(1)))));
    links.server.messages.insert(name("room:1"), 3);
    links.clear();
    links.own(1);
    links.run();
    assert_eq!(links.take(0), ["user:1 link_lost", "room:1 9-2", "room:1 9-3"]);
    assert!(links.router.receive("room:1", payload(Some(at(4)))));
    assert_eq!(links.take(0).last().map(String::as_str), Some("room:1 9-4"));
    assert_eq!(links.cores.each_ref().map(|core| core.lock().wanted()), [0, 2]);
    assert_eq!((links.metrics.channels.get(), links.metrics.users.get()), (2, 1));
}

#[test]
fn a_channel_without_an_owner_waits_for_the_map() {
    let links = Links::new();
    links.cores.iter().for_each(|core| core.lock().connected());
    links.clear();
    links.router.subscribe(links.hubs[0].0, 1, names(["room:1"]), false);
    links.run();
    assert_eq!((links.take(0), links.unassigned()), (Vec::new(), 1));
    links.own(0);
    links.run();
    assert_eq!(links.take(0), ["room:1 subscribed by 1 at 9-0"]);
    links.router.remove(links.ids[0]);
    assert_eq!(links.unassigned(), 1);
    links.router.unsubscribe(links.hubs[0].0, &names(["room:1"]));
    assert_eq!((links.unassigned(), links.metrics.channels.get()), (0, 0));
}

#[test]
fn a_map_that_comes_and_goes_loses_no_subscription() {
    let links = Links::up();
    links.router.subscribe(links.hubs[0].0, 1, names(["room:1"]), false);
    links.run();
    links.clear();
    // The first link has not unsubscribed when the channel comes back, and its server may have done so.
    links.own(1);
    links.own(0);
    let batch = links.cores[0].lock().next_batch(9).unwrap();
    assert_eq!((batch.subscribe, batch.unsubscribe), (names(["room:1"]), Vec::new()));
}

#[test]
fn only_other_links_announce_lost_messages_of_users() {
    let links = Links::up();
    let ([(hub, _), _], [first, second]) = (&links.hubs, links.ids);
    links.router.assign(Box::new(move |channel| Some(if channel == "user:1" { first } else { second })));
    links.router.subscribe(*hub, 1, names(["user:1", "user:2", "room:2"]), false);
    links.run();
    links.clear();
    links.router.plain_messages_lost("user", first, links.now);
    assert_eq!(links.take(0), ["user:2 link_lost"]);
}
