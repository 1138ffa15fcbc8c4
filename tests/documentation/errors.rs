//! docs/errors.md explains every error that the gateway returns to a backend or a token issuer, and docs/protocol.md
//! every soft error of a client.

use std::collections::BTreeSet;

use serde_json::Value;

use super::assert_same;
use super::metrics::read;

/// The codes in the first column of a section's table.
fn explained(section: &str) -> Vec<String> {
    let page = read("docs/errors.md");
    let section = page.split(&format!("\n## {section}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(first, _)| first.to_owned()).collect()
}

/// Every text of the source between `beginning` and the next quotation mark.
fn literals(source: &str, beginning: &str) -> BTreeSet<String> {
    source.split(beginning).skip(1).map(|rest| rest.split(['"', '\'']).next().unwrap().to_owned()).collect()
}

#[test]
fn every_code_of_the_admin_port_is_explained() {
    let source = read("src/http/api_error.rs");
    let codes = source.split("fn code(").nth(1).unwrap().split("\n    }\n").next().unwrap();
    let explained = explained("The admin port").into_iter().collect();
    assert_same(("docs/errors.md", &explained), ("the source", &literals(codes, "=> \"")));
}

#[test]
fn every_reason_to_refuse_a_token_is_explained() {
    let source = read("src/auth/error.rs");
    let labels = source.split("fn label(").nth(1).unwrap().split("\n    }\n").next().unwrap();
    let explained = explained("Tokens").into_iter().collect();
    assert_same(("docs/errors.md", &explained), ("the source", &literals(labels, "=> \"")));
}

#[test]
fn every_refusal_of_the_function_is_explained() {
    let files = ["gateway", "gateway_json", "gateway_publish", "gateway_mark", "gateway_control"];
    let source: String = files.iter().map(|name| read(&format!("src/broker/redis/{name}.lua"))).collect();
    let faults = source.split("local function find_fault").nth(1).unwrap().split("\nend\n").next().unwrap();
    let refusals = ["refuse('", "refuse(string.format('"].map(|beginning| literals(&source, beginning));
    let faults = literals(faults, "'the message").into_iter().map(|text| format!("the message{text}"));
    let texts: Vec<String> = refusals.into_iter().flatten().chain(faults).collect();
    assert!(texts.len() > 12, "{texts:?}");
    // On the page, an ellipsis replaces a number, a name, or the variable text after a colon.
    let prefix_of = |text: &str| text.replace(['…', '%'], "\n").split('\n').next().unwrap().trim().to_owned();
    let explained: Vec<String> =
        explained("FCALL").iter().map(|text| prefix_of(text.trim_start_matches("gateway: "))).collect();
    for text in texts {
        let text = prefix_of(&text);
        let is_explained = explained.iter().any(|known| text.starts_with(known) || known.starts_with(&text));
        assert!(is_explained, "{text:?} is not on the page");
    }
}

#[test]
fn every_soft_error_is_in_protocol_md_and_asyncapi() {
    let source = read("crates/protocol/src/event.rs");
    let source = source.split("fn code_and_detail(").nth(1).unwrap().split("\n    }\n").next().unwrap();
    let sent = literals(source, "=> (\"");
    assert!(sent.len() > 2, "only {sent:?}");
    let page = read("docs/protocol.md");
    let table = page.split("\n**Soft errors**").nth(1).unwrap().split("\n**").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let explained = rows.map(|(code, _)| code.to_owned()).collect();
    assert_same(("docs/protocol.md", &explained), ("the source", &sent));
    let contract: Value = serde_saphyr::from_str(&read("docs/asyncapi.yaml")).unwrap();
    let codes = contract["components"]["schemas"]["Error"]["properties"]["code"]["enum"].as_array().unwrap();
    let codes = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    assert_same(("docs/asyncapi.yaml", &codes), ("the source", &sent));
}
