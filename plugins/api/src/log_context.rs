//! Whose log line it is: each thread of a plugin carries the plugin's attributes, and threads that work for it take them over.

use std::cell::RefCell;
use std::sync::Arc;

/// What a plugin's log lines carry as `attributes`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The plugin's name.
    pub name: String,
    /// Its kind.
    pub plugin: String,
    /// `owner`, if the scope has one.
    pub owner: Option<String>,
    /// `repo`, if the scope has one.
    pub repo: Option<String>,
    /// `enterprise`, if the scope is one.
    pub enterprise: Option<String>,
}

/// Attributes to carry over to another thread; none outside plugins.
#[derive(Clone, Debug, Default)]
pub struct Context(Option<Arc<Attributes>>);

thread_local! {
    static CURRENT: RefCell<Context> = RefCell::default();
}

impl Context {
    /// A context of these attributes.
    pub fn new(attributes: Attributes) -> Self {
        Self(Some(Arc::new(attributes)))
    }

    /// Puts the context onto this thread's lines until the result is dropped.
    #[must_use = "the context ends when this is dropped"]
    pub fn enter(&self) -> Entered {
        Entered(CURRENT.with(|current| current.replace(self.clone())))
    }

    /// The attributes, if any.
    pub fn attributes(&self) -> Option<&Attributes> {
        self.0.as_deref()
    }
}

/// Brings back the earlier context when it is dropped.
#[derive(Debug)]
pub struct Entered(Context);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.with(|current| current.replace(std::mem::take(&mut self.0)));
    }
}

/// This thread's context, to be entered by a thread that works for it.
pub fn inherit() -> Context {
    CURRENT.with(|current| current.borrow().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_nest_and_end() {
        let context =
            |name: &str| Context::new(Attributes { name: name.to_owned(), ..Attributes::default() });
        let name = || inherit().attributes().map(|attributes| attributes.name.clone());
        assert_eq!(name(), None);
        let outer = context("a").enter();
        {
            let _inner = context("b").enter();
            assert_eq!(name().as_deref(), Some("b"));
        }
        assert_eq!(name().as_deref(), Some("a"));
        drop(outer);
        assert_eq!(name(), None);
    }
}
