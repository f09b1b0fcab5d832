//! Another tenant's things, named in every place of a request where something can be named: nothing of theirs comes back, and what comes back
//! is the same as for things that are not there.
//!
//! Everything of globex's holds a marker: [`TEXT`] in what is written, [`NAME`] in what is named. acme's admin names globex's things wherever
//! a request has room for a name. Then the same with a name that nobody has, and the answers must not differ.

use super::filled::{Filled, fill};
use crate::client::{Answer, Client};
use crate::harness::Server;
use crate::pipelines::MANIFEST;
use bulkhead_control::Role;
use serde_json::json;

const TEXT: &str = "zqtextzq";
const NAME: &str = "zqnamezq";
/// A name that nobody has, as long as [`NAME`].
const VOID: &str = "zqvoidzq";
const ACME: &str = "/api/v1/tenants/acme";

/// A request: method, path below acme, headers, body.
type Ask = (&'static str, String, Vec<(&'static str, String)>, String);

/// Requests that name `name` in every place.
#[rustfmt::skip]
fn asks(name: &str, theirs: &Filled) -> Vec<Ask> {
    let ask = |method, path: &str| (method, path.to_owned(), vec![], String::new());
    let put = |method, path: &str, body: String| (method, path.to_owned(), vec![], body);
    let with = |method, path: &str, header, value: &str| (method, path.to_owned(), vec![(header, value.to_owned())], String::new());
    let manifest = |from: &str, to: &str| MANIFEST.replacen(from, to, 1);
    let Filled { digest, etag, line, place } = theirs;
    let default = "/projects/default";
    let pipeline = format!("{default}/pipelines/p");
    vec![
        // In the path: as it is, and as it is called inside.
        ask("GET", &format!("/projects/{name}")),
        ask("DELETE", &format!("/projects/{name}")),
        ask("GET", &format!("/projects/{name}/pipelines")),
        ask("GET", &format!("/projects/{name}/pipelines/{name}")),
        ask("GET", &format!("{default}/pipelines/{name}")),
        ask("GET", &format!("{default}/pipelines/{name}/stages")),
        ask("GET", &format!("{default}/pipelines/{name}/revisions/1")),
        ask("GET", &format!("{default}/pipelines/{name}/dead-letters")),
        ask("GET", &format!("{default}/pipelines/{name}/dead-letters/0-0")),
        ask("POST", &format!("{default}/pipelines/{name}/dead-letters/0-0/replay")),
        ask("POST", &format!("{default}/pipelines/{name}/pause")),
        ask("DELETE", &format!("{default}/pipelines/{name}")),
        ask("GET", &format!("{default}/modules/{name}")),
        ask("GET", &format!("{default}/modules/{name}/tags")),
        ask("GET", &format!("{default}/config/{name}")),
        ask("DELETE", &format!("{default}/secrets/{name}")),
        ask("DELETE", &format!("{default}/modules/{name}")),
        ask("GET", &format!("{default}/modules/{digest}")),
        ask("GET", &format!("{default}/modules/{digest}/content")),
        ask("DELETE", &format!("{default}/modules/{digest}")),
        ask("GET", &format!("/topics/{name}.in")),
        ask("GET", &format!("/topics/globex.{name}.in")),
        ask("GET", &format!("/topics/{name}.in/records")),
        ask("GET", &format!("/topics/globex.{name}.in/records")),
        ask("DELETE", &format!("/topics/{name}.in?force=true")),
        put("POST", &format!("/topics/{name}.in/records"), "{\"value\": \"x\"}".to_owned()),
        ask("DELETE", &format!("/access/roles/{name}")),
        ask("DELETE", &format!("/access/bindings/user:{name}/{name}")),
        ask("PUT", &format!("/access/bindings/user:eve/{name}")),
        ask("PUT", &format!("/projects/{name}/access/bindings/user:eve/viewer")),
        // In the query: names, and marks of pages.
        ask("GET", &format!("{default}/logs?pipeline={name}")),
        ask("GET", &format!("{default}/logs?stage={name}")),
        ask("GET", &format!("{default}/logs?after={line}")),
        ask("GET", &format!("{default}/logs?tenant=globex")),
        ask("GET", &format!("/topics?after={name}")),
        ask("GET", &format!("/topics?tenant=globex&after={name}")),
        ask("GET", &format!("/projects?after={name}")),
        ask("GET", &format!("{default}/pipelines?after={name}")),
        ask("GET", &format!("{default}/modules?after={digest}")),
        ask("GET", &format!("/access/bindings?after=user:{name}")),
        ask("GET", &format!("/access/explain?action=topics.read&subject=user:{name}")),
        ask("GET", &format!("/access/explain?action=topics.read&project={name}")),
        ask("GET", &format!("{default}/pipelines/{name}/dead-letters?after=0-0")),
        // In headers.
        with("GET", &pipeline, "if-none-match", etag),
        with("DELETE", &pipeline, "if-match", etag),
        with("GET", &format!("{default}/logs"), "x-bulkhead-tenant", "globex"),
        with("GET", "/topics", "x-tenant", "globex"),
        with("POST", &format!("{default}/pipelines/{name}/pause"), "idempotency-key", "theirs"),
        with("GET", "/topics", "x-request-id", place),
        // In bodies.
        put("POST", "/projects", json!({"name": format!("{name}.in")}).to_string()),
        put("POST", "/projects", json!({"name": "x", "tenant": "globex", "description": name}).to_string()),
        put("POST", "/topics", json!({"name": "x", "tenant": "globex"}).to_string()),
        put("POST", "/tokens", json!({"subject": name, "role": "viewer", "tenant": "globex"}).to_string()),
        put("PUT", &format!("{default}/modules/m/tags/stolen"), json!({"digest": digest}).to_string()),
        put("POST", &format!("{pipeline}/rollback"), json!({"revision": 7, "project": name}).to_string()),
        // In manifests: topics, modules by name and by digest, buckets, and fields that are none.
        put("PUT", &pipeline, manifest("{topic: in}", &format!("{{topic: {name}.in}}"))),
        put("PUT", &pipeline, manifest("{topic: in}", &format!("{{topic: globex.{name}.in}}"))),
        put("PUT", &pipeline, manifest("{topic: out}", &format!("{{topic: {name}.out}}"))),
        put("PUT", &pipeline, manifest("{topic: dead}", &format!("{{topic: {name}.dead}}"))),
        put("PUT", &pipeline, manifest("module: m:latest", &format!("module: {name}"))),
        put("PUT", &pipeline, manifest("module: m:latest", &format!("module: {name}/{name}:latest"))),
        put("PUT", &pipeline, manifest("module: m:latest", &format!("module: {digest}"))),
        put("PUT", &pipeline, manifest("kind: Pipeline", &format!("kind: Pipeline\ntenant: globex\nproject: {name}"))),
        put("PUT", &pipeline, manifest("  - name: last\n", &format!("  - name: last\n    buckets: [{{name: b, bucket: {name}, access: read, prefix: ../globex/}}]\n"))),
        put("POST", &format!("{pipeline}/diff"), manifest("module: m:latest", &format!("module: {digest}"))),
        put("POST", &format!("{pipeline}/diff"), manifest("{topic: in}", &format!("{{topic: {name}.in}}"))),
    ]
}

async fn ask(client: &Client, (method, path, headers, body): &Ask) -> Answer {
    let request = client.request(method, &format!("{ACME}{path}")).body(body.clone());
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
    Answer::of(request.send().await.unwrap()).await
}

/// An answer without what differs from one request to the next.
fn plain(answer: &Answer, name: &str) -> String {
    let id = answer.headers["x-request-id"].to_str().unwrap();
    format!("{} {}", answer.status, answer.text.replace(id, "ID").replace(name, "NAME"))
}

#[tokio::test]
async fn what_names_another_tenants_things_finds_nothing() {
    let server = Server::start().await;
    crate::pipelines::ready(&server, "acme").await;
    let theirs = fill(&server, "globex", NAME, TEXT).await;
    let acme = server.client("acme", Role::TenantAdmin);
    let voids = Filled {
        digest: format!("sha256:{}", "0".repeat(64)),
        etag: "\"void\"".to_owned(),
        line: "0".to_owned(),
        place: "0".to_owned(),
    };
    let mut wrong = Vec::new();
    let (named, void) = (asks(NAME, &theirs), asks(VOID, &voids));
    for (named, void) in named.iter().zip(&void) {
        let (found, nothing) = (ask(&acme, named).await, ask(&acme, void).await);
        let what = format!("{} {} {:?} {}", named.0, named.1, named.2, named.3);
        let asked = format!("{}{:?}{}", named.1, named.2, named.3);
        if found.text.contains(TEXT) || (found.text.contains(NAME) && !asked.contains(NAME)) {
            wrong.push(format!("{what}: shows what is globex's: {}", found.text));
        }
        let found = plain(&found, NAME).replace(&theirs.digest, &voids.digest).replace(&theirs.line, &voids.line);
        let nothing = plain(&nothing, VOID);
        if found != nothing {
            wrong.push(format!("{what}: tells what is there:\n  {found}\n  {nothing}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), named.len(), wrong.join("\n"));
    assert!(named.len() > 60, "only {} places", named.len());
}

#[tokio::test]
async fn lists_of_one_hold_nothing_of_the_other() {
    let server = Server::start().await;
    crate::pipelines::ready(&server, "acme").await;
    fill(&server, "globex", NAME, TEXT).await;
    let acme = server.client("acme", Role::TenantAdmin);
    for row in super::table::rows().iter().filter(|row| row.method == "GET" && row.path.starts_with("/api")) {
        let path = super::paths::path_of(row, "acme", "default");
        let answer = acme.get(&path).await;
        assert!(!answer.text.contains(TEXT) && !answer.text.contains(NAME), "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_tenants_worker_is_given_nothing_of_the_other() {
    let server = Server::start().await;
    crate::pipelines::ready(&server, "acme").await;
    let Filled { digest, .. } = fill(&server, "globex", NAME, TEXT).await;
    let own = server.worker_in("acme-0", Some("acme"));
    let assignment = own.get("/internal/v1/assignment?worker=acme-0").await;
    assert!(assignment.status == 200 && !assignment.text.contains(NAME), "{}", assignment.text);
    own.get(&format!("/internal/v1/modules/globex/{digest}")).await.refused(404, "BH0005");
    own.get(&format!("/internal/v1/modules/acme/{digest}")).await.refused(404, "BH0005");
    let pool = server.worker().get("/internal/v1/assignment?worker=pool-0").await;
    assert!(pool.text.contains(NAME), "the pool's workers run it");
}
