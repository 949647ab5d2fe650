//! Tables that are looked into all the time.
//!
//! The standard library's hasher withstands keys that a stranger chose so that they
//! collide, and takes its time for that. Where nobody can choose so many, because ids
//! are drawn here or because a table lives for one batch, a quicker one will do.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

/// A map whose keys are ids that were drawn here, or that lives for one batch.
pub type IdMap<K, V> = HashMap<K, V, RandomState>;

/// A set of ids that were drawn here.
pub type IdSet<K> = HashSet<K, RandomState>;
