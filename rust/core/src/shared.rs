//! What state that all workers share is made of: atomics, and values that are replaced as a whole. With the
//! feature `loom` they are that library's, which tries every order in which threads can meet there.

#[cfg(feature = "loom")]
pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize};
#[cfg(not(feature = "loom"))]
pub(crate) use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize};

#[cfg(not(feature = "loom"))]
pub(crate) use arc_swap::ArcSwap;
#[cfg(feature = "loom")]
pub(crate) use modelled::ArcSwap;

/// `SipHash` with secret keys, for what a client may choose. A model goes the same ways each time, so its keys are no secret.
#[cfg(feature = "loom")]
pub(crate) type SecretHash = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;
/// `SipHash` with secret keys, for what a client may choose.
#[cfg(not(feature = "loom"))]
pub(crate) type SecretHash = std::hash::RandomState;

/// `arc_swap`'s promise in loom's terms: a load gives one of the values that were stored, and a replacement that
/// comes from another value than the present one is made again.
#[cfg(feature = "loom")]
mod modelled {
    use loom::sync::Mutex;
    use std::sync::Arc;

    #[derive(Debug)]
    pub(crate) struct ArcSwap<T>(Mutex<Arc<T>>);

    impl<T> ArcSwap<T> {
        pub(crate) fn from_pointee(value: T) -> Self {
            Self::new(Arc::new(value))
        }

        pub(crate) fn new(value: Arc<T>) -> Self {
            Self(Mutex::new(value))
        }

        pub(crate) fn load(&self) -> Arc<T> {
            Arc::clone(&self.0.lock().expect("no model panics while it holds the lock"))
        }

        pub(crate) fn rcu<R: Into<Arc<T>>>(&self, mut change: impl FnMut(&Arc<T>) -> R) -> Arc<T> {
            loop {
                let old = self.load();
                let new = change(&old).into();
                let mut present = self.0.lock().expect("no model panics while it holds the lock");
                if Arc::ptr_eq(&present, &old) {
                    *present = new;
                    return old;
                }
            }
        }
    }
}
