//! What servers tell of changes, on its way to those clients who want to know.
//!
//! The rule: nobody waits and nothing is lost. What a reader has not taken yet stands once in its queue, however often it
//! happened meanwhile, so a slow reader costs no more memory than the resources that it subscribed to.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::clock::lock;
use crate::translate::push_json_string;

/// Lists that can change.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum List {
    Tools,
    Prompts,
    Resources,
}

impl List {
    pub(crate) const ALL: [Self; 3] = [Self::Tools, Self::Prompts, Self::Resources];

    /// As notifications name it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|list| list.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
        }
    }

    /// As the filter of `subscriptions/listen` names it.
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Self::Tools => "toolsListChanged",
            Self::Prompts => "promptsListChanged",
            Self::Resources => "resourcesListChanged",
        }
    }
}

/// A resource: its server's name, and its URI.
pub(crate) type Place = (Arc<str>, Arc<str>);

/// One thing that happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Item {
    Changed(List),
    /// A resource; the params of its notification, without `_meta`.
    Updated(Bytes),
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Key {
    List(List),
    Updated(Place),
}

#[derive(Debug, Default)]
struct State {
    lists: Vec<List>,
    places: HashSet<Place>,
    queue: VecDeque<Key>,
    /// The params of what is queued.
    updates: HashMap<Place, Bytes>,
}

impl State {
    fn changed(&mut self, list: List) -> bool {
        let key = Key::List(list);
        let new = self.lists.contains(&list) && !self.queue.contains(&key);
        if new {
            self.queue.push_back(key);
        }
        new
    }

    /// Whether it subscribed to the resource, or to one that this is a part of (2025-11-25 schema,
    /// `ResourceUpdatedNotification.uri`).
    fn wants(&self, server: &Arc<str>, uri: &Arc<str>) -> bool {
        let mut place = (Arc::clone(server), Arc::clone(uri));
        if self.places.contains(&place) {
            return true;
        }
        if self.places.iter().all(|(name, _)| name != server) {
            return false;
        }
        let cuts = uri.match_indices(['/', '?', '#']);
        cuts.flat_map(|(at, _)| [at, at + 1]).any(|end| {
            place.1 = uri[..end].into();
            self.places.contains(&place)
        })
    }

    fn updated(&mut self, server: &Arc<str>, uri: &Arc<str>, params: &Bytes) -> bool {
        if self.places.is_empty() || !self.wants(server, uri) {
            return false;
        }
        let place = (Arc::clone(server), Arc::clone(uri));
        if self.updates.insert(place.clone(), params.clone()).is_none() {
            self.queue.push_back(Key::Updated(place));
        }
        true
    }
}

/// One who wants to know. Dropping it ends that.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    state: Mutex<State>,
    wake: Notify,
}

impl Reader {
    /// Changes of these lists are told from now on.
    pub(crate) fn want_lists(&self, lists: &[List]) {
        lock(&self.state).lists = lists.to_vec();
    }

    pub(crate) fn want(&self, place: Place) {
        lock(&self.state).places.insert(place);
    }

    pub(crate) fn forget(&self, place: &Place) {
        lock(&self.state).places.remove(place);
    }

    /// Something happened that only this reader has to be told of.
    pub(crate) fn changed(&self, lists: &[List]) {
        {
            let mut state = lock(&self.state);
            for list in lists {
                state.changed(*list);
            }
        }
        self.wake.notify_one();
    }

    /// Everything that this reader wants to know of may have changed.
    pub(crate) fn all_changed(&self) {
        {
            let mut state = lock(&self.state);
            for list in List::ALL {
                state.changed(list);
            }
            let places: Vec<Place> = state.places.iter().cloned().collect();
            for place in places {
                if !state.updates.contains_key(&place) {
                    let mut params = b"{\"uri\":".to_vec();
                    push_json_string(&mut params, &place.1);
                    params.push(b'}');
                    state.updated(&place.0, &place.1, &params.into());
                }
            }
        }
        self.wake.notify_one();
    }

    pub(crate) fn try_next(&self) -> Option<Item> {
        let mut state = lock(&self.state);
        loop {
            match state.queue.pop_front()? {
                Key::List(list) => return Some(Item::Changed(list)),
                Key::Updated(place) => {
                    if let Some(params) = state.updates.remove(&place) {
                        return Some(Item::Updated(params));
                    }
                }
            }
        }
    }

    /// The next thing that happened. Dropping the future loses nothing; there is one who waits.
    pub(crate) async fn next(&self) -> Item {
        loop {
            let woken = self.wake.notified();
            if let Some(item) = self.try_next() {
                return item;
            }
            woken.await;
        }
    }
}

/// Where news comes in.
#[derive(Debug, Default)]
pub(crate) struct News {
    readers: Mutex<Vec<Weak<Reader>>>,
}

impl News {
    pub(crate) fn reader(&self) -> Arc<Reader> {
        let reader = Arc::new(Reader::default());
        lock(&self.readers).push(Arc::downgrade(&reader));
        reader
    }

    pub(crate) fn changed(&self, list: List) {
        self.tell(|state| state.changed(list));
    }

    /// Which lists changed nobody knows: a server came, went, or was out of sight.
    pub(crate) fn all_changed(&self) {
        for list in List::ALL {
            self.changed(list);
        }
    }

    pub(crate) fn updated(&self, server: &str, uri: &str, params: &Bytes) {
        let (server, uri) = (server.into(), uri.into());
        self.tell(|state| state.updated(&server, &uri, params));
    }

    fn tell(&self, mut queue: impl FnMut(&mut State) -> bool) {
        lock(&self.readers).retain(|reader| {
            let Some(reader) = reader.upgrade() else {
                return false;
            };
            if queue(&mut lock(&reader.state)) {
                reader.wake.notify_one();
            }
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(uri: &str) -> Place {
        ("a".into(), uri.into())
    }

    #[test]
    fn a_slow_reader_finds_everything_once_in_its_order() {
        let news = News::default();
        let reader = news.reader();
        reader.want_lists(&[List::Tools]);
        reader.want(place("x://1"));
        for round in 0..1000 {
            news.changed(List::Prompts);
            news.updated("a", "x://1", &format!("{{\"round\":{round}}}").into());
            news.changed(List::Tools);
            news.updated("b", "x://1", &Bytes::new());
            news.updated("a", "x://2", &Bytes::new());
        }
        let found: Vec<_> = std::iter::from_fn(|| reader.try_next()).collect();
        let latest = Item::Updated("{\"round\":999}".into());
        assert_eq!(found, [latest, Item::Changed(List::Tools)]);
    }

    #[test]
    fn whoever_lost_something_is_told_of_all_that_it_wants_and_of_nothing_else() {
        let news = News::default();
        let reader = news.reader();
        reader.want_lists(&[List::Tools]);
        reader.want(place("x://\"1\""));
        reader.all_changed();
        let found: Vec<_> = std::iter::from_fn(|| reader.try_next()).collect();
        let updated = Item::Updated(r#"{"uri":"x://\"1\""}"#.into());
        assert_eq!(found, [Item::Changed(List::Tools), updated]);
    }

    #[test]
    fn a_part_of_a_resource_is_told_to_who_subscribed_to_the_whole() {
        let news = News::default();
        let reader = news.reader();
        reader.want(place("file:///dir"));
        reader.want(place("file:///other/"));
        for (uri, told) in [
            ("file:///dir/file", true),
            ("file:///directory", false),
            ("file:///other/a/b", true),
            ("file:///dir#part", true),
            ("file:///", false),
        ] {
            news.updated("a", uri, &Bytes::new());
            assert_eq!(reader.try_next().is_some(), told, "{uri}");
        }
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_and_a_reader_that_left_is_forgotten() {
        let news = Arc::new(News::default());
        let reader = news.reader();
        reader.want_lists(&List::ALL);
        let teller = Arc::clone(&news);
        let told = tokio::spawn(async move { teller.changed(List::Resources) });
        assert_eq!(reader.next().await, Item::Changed(List::Resources));
        told.await.expect("told");
        drop(reader);
        news.all_changed();
        assert!(lock(&news.readers).is_empty());
    }
}
