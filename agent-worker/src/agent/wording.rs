//! An agent's instructions, of which parts may stand elsewhere, and change there while the agent runs:
//! `${config:STORE/KEY}` is a setting of the Dapr sidecar's.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;

use crate::placeholder::{filled, named};

const KINDS: &[&str] = &["config"];

/// Instructions as the file has them, and as they are now.
#[derive(Debug)]
pub(crate) struct Wording {
    template: String,
    text: RwLock<Arc<str>>,
}

impl Wording {
    /// As the file has them.
    pub(crate) fn new(template: &str) -> Self {
        Self {
            template: template.to_owned(),
            text: RwLock::new(template.into()),
        }
    }

    /// As they are now.
    pub(crate) fn text(&self) -> Arc<str> {
        Arc::clone(&self.text.read())
    }

    /// The settings that they name: `config:STORE/KEY`.
    pub(crate) fn named(&self) -> impl Iterator<Item = &str> {
        named(&self.template, KINDS)
    }

    /// Says them anew, with settings as they are now. Whether they are different.
    pub(crate) fn say(&self, known: &BTreeMap<String, String>) -> bool {
        let text = filled(&self.template, KINDS, known);
        let mut said = self.text.write();
        let is_new = **said != *text;
        *said = text.into();
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_what_the_settings_that_they_name_say_now() {
        let plain = Wording::new("Be ${kind}.");
        assert_eq!((plain.named().count(), &*plain.text()), (0, "Be ${kind}."));
        let wording = Wording::new("Be ${config:tone/how}.");
        assert_eq!(wording.named().collect::<Vec<_>>(), ["config:tone/how"]);
        let known = |how: &str| BTreeMap::from([("config:tone/how".to_owned(), how.to_owned())]);
        assert!(wording.say(&known("brief")));
        assert_eq!(&*wording.text(), "Be brief.");
        assert!(!wording.say(&known("brief")));
        assert!(wording.say(&known("polite")));
        assert_eq!(&*wording.text(), "Be polite.");
    }
}
