//! Validates frames against the machine-readable contract, `docs/asyncapi.yaml`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use jsonschema::{Draft, Validator};
use serde_json::{Value, json};

/// Reads a YAML document of the folder `docs` as JSON.
#[track_caller]
pub(crate) fn document(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Compiles a schema of a document together with the components that it may refer to.
#[track_caller]
pub(crate) fn validator(document: &Value, schema: &Value, draft: Draft) -> Validator {
    let whole = json!({"allOf": [schema], "components": document["components"]});
    jsonschema::options().with_draft(draft).build(&whole).unwrap()
}

/// Follows references within the document; returns any other value unchanged.
#[track_caller]
pub(crate) fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let Some(reference) = value["$ref"].as_str() else { return value };
    let target = document.pointer(reference.trim_start_matches('#'));
    resolve(document, target.unwrap_or_else(|| panic!("{reference} has no target")))
}

/// The validators of each operation's messages, by title.
pub(crate) struct Contract(BTreeMap<String, BTreeMap<String, Validator>>);

impl Contract {
    /// The contract of `docs/asyncapi.yaml`, compiled once.
    pub(crate) fn get() -> &'static Self {
        static CONTRACT: OnceLock<Contract> = OnceLock::new();
        CONTRACT.get_or_init(|| Self::of(&document("asyncapi.yaml")))
    }

    fn of(document: &Value) -> Self {
        let operations = document["operations"].as_object().unwrap();
        let messages = |operation: &Value| {
            let channel = resolve(document, &operation["channel"]);
            let all = || channel["messages"].as_object().unwrap().values().collect();
            // An operation without messages of its own uses all messages of its channel.
            let named: Vec<_> =
                operation["messages"].as_array().map_or_else(all, |named| named.iter().collect());
            let messages = named.into_iter().map(|message| {
                let message = resolve(document, message);
                let payload = validator(document, &message["payload"], Draft::Draft7);
                (message["title"].as_str().unwrap().to_owned(), payload)
            });
            messages.collect()
        };
        Self(operations.iter().map(|(name, operation)| (name.clone(), messages(operation))).collect())
    }

    /// Lists the titles of an operation's messages.
    #[track_caller]
    pub(crate) fn messages(&self, operation: &str) -> Vec<&str> {
        self.0[operation].keys().map(String::as_str).collect()
    }

    /// Lists the titles of the operation's messages that `value` matches.
    #[track_caller]
    pub(crate) fn matching(&self, operation: &str, value: &Value) -> Vec<&str> {
        let all = self.0[operation].iter();
        all.filter(|(_, validator)| validator.is_valid(value)).map(|(name, _)| name.as_str()).collect()
    }

    /// Whether `value` matches one message of an operation.
    #[track_caller]
    pub(crate) fn is(&self, operation: &str, message: &str, value: &Value) -> bool {
        self.0[operation][message].is_valid(value)
    }
}

/// Asserts that a frame matches the contract. Every test client calls this for every frame, so only the message of the
/// frame's op is validated.
#[track_caller]
pub(crate) fn check_frame(is_v2: bool, frame: &str) {
    // A published message may be nested deeper than serde_json allows.
    let Ok(value) = serde_json::from_str::<Value>(frame) else { return };
    let operation = if is_v2 { "sendV2" } else { "sendV1" };
    let title = format!("Op {}: ", value["op"]);
    let known = Contract::get().0[operation].iter().find(|(name, _)| name.starts_with(&title));
    let is_known = known.is_some_and(|(_, validator)| validator.is_valid(&value));
    assert!(is_known, "{frame} matches no message of {operation} in docs/asyncapi.yaml");
}
