//! Config and secrets: inherited down and overridden below, granted by name, sealed for their place, and nowhere in plain.

use crate::client::Client;
use crate::harness::{Server, component};
use crate::pipelines::{MANIFEST, ready};
use bulkhead_control::Role;
use bulkhead_vault::MasterKeySource;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use std::path::Path;

const PROJECTS: &str = "/api/v1/tenants/acme/projects";
const PIPELINE: &str = "/api/v1/tenants/acme/projects/default/pipelines/p";
/// What no file and no answer may hold.
const MARKER: &str = "marker-7f3a91c2-hunter2";

async fn project(dev: &Client, name: &str) {
    dev.post(PROJECTS, &json!({"name": name})).await.expect(201);
}

async fn secret(dev: &Client, project: &str, name: &str, value: &str) -> Value {
    let answer = dev.put(&format!("{PROJECTS}/{project}/secrets/{name}"), value.to_owned()).await;
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text);
    answer.json()
}

async fn set(dev: &Client, project: &str, name: &str, value: Value) -> Value {
    let answer = dev.put(&format!("{PROJECTS}/{project}/config/{name}"), value.to_string()).await;
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text);
    answer.json()
}

/// Name and project of each entry of a list.
fn names(list: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    list["items"].as_array().unwrap().iter().map(|item| (text(&item["name"]), text(&item["project"]))).collect()
}

fn pair(name: &str, project: &str) -> (String, String) {
    (name.to_owned(), project.to_owned())
}

/// The database, beside the process that has it open: what whoever can write files can do. None where it is no file; what is sealed is
/// the same there.
async fn database(server: &Server) -> Option<SqlitePool> {
    let file = SqliteConnectOptions::new().filename(server.data_dir().join("control.db"));
    if server.metadata.is_file() { Some(SqlitePool::connect_with(file).await.unwrap()) } else { None }
}

/// Every file below a folder that holds these bytes.
fn holding(folder: &Path, bytes: &[u8], found: &mut Vec<String>) -> usize {
    let mut looked_at = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            looked_at += holding(&path, bytes, found);
            continue;
        }
        looked_at += 1;
        if std::fs::read(&path).unwrap().windows(bytes.len()).any(|window| window == bytes) {
            found.push(path.display().to_string());
        }
    }
    looked_at
}

#[tokio::test]
async fn a_project_has_what_lies_around_it_unless_it_has_its_own() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    for name in ["shop", "shop.eu", "shop.us"] {
        project(&dev, name).await;
    }
    set(&dev, "shop", "currency", json!("USD")).await;
    set(&dev, "shop", "limit", json!({"high": 9})).await;
    set(&dev, "shop.eu", "currency", json!("EUR")).await;
    secret(&dev, "shop", "db-password", MARKER).await;
    secret(&dev, "shop.eu", "api-key", MARKER).await;

    let list = async |path: &str| dev.get(&format!("{PROJECTS}/{path}")).await.expect(200);
    let own = list("shop.eu/config").await;
    assert_eq!(names(&own), [pair("currency", "shop.eu")]);
    let all = list("shop.eu/config?inherited=true").await;
    assert_eq!(names(&all), [pair("currency", "shop.eu"), pair("limit", "shop")]);
    assert_eq!((&all["items"][0]["value"], &all["items"][1]["value"]), (&json!("EUR"), &json!({"high": 9})));
    assert_eq!(list("shop.us/config/currency?inherited=true").await["value"], "USD");
    dev.get(&format!("{PROJECTS}/shop.us/config/currency")).await.refused(404, "BH0005");
    let secrets = list("shop.eu/secrets?inherited=true").await;
    assert_eq!(names(&secrets), [pair("api-key", "shop.eu"), pair("db-password", "shop")]);
    let paged = list("shop.eu/secrets?inherited=true&limit=1").await;
    assert_eq!((names(&paged), &paged["next"]), (vec![pair("api-key", "shop.eu")], &json!("api-key")));
    let rest = list("shop.eu/secrets?inherited=true&limit=1&after=api-key").await;
    assert_eq!(names(&rest), [pair("db-password", "shop")]);

    // What lies below is not what lies around.
    assert_eq!(names(&list("shop/secrets?inherited=true").await), [pair("db-password", "shop")]);
    dev.delete(&format!("{PROJECTS}/shop.eu/config/currency")).await.expect(204);
    assert_eq!(list("shop.eu/config/currency?inherited=true").await["value"], "USD");
    let full = dev.delete(&format!("{PROJECTS}/shop.eu")).await.refused(409, "BH0017");
    assert!(full["detail"].as_str().unwrap().contains("1 config entries and secrets"), "{full}");
    dev.get(&format!("{PROJECTS}/nowhere/secrets")).await.refused(404, "BH0005");
    dev.put(&format!("{PROJECTS}/nowhere/secrets/a"), "x").await.refused(404, "BH0005");
}

#[tokio::test]
async fn a_value_is_set_on_condition_and_once() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    let at = format!("{PROJECTS}/default/secrets/db-password");
    let made = dev.put(&at, MARKER).await;
    let tag = made.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(made.expect(201)["version"], 1);
    assert_eq!(dev.put(&at, MARKER).await.expect(200)["version"], 1, "the same value is no change");
    dev.send("PUT", &at, ("if-none-match", "*"), "other").await.refused(412, "BH0013");
    let changed = dev.send("PUT", &at, ("if-match", &tag), "other").await.expect(200);
    assert_eq!((&changed["version"], &changed["updatedBy"]), (&json!(2), &json!("developer@acme")));
    dev.send("PUT", &at, ("if-match", &tag), "third").await.refused(412, "BH0013");
    for _ in 0..2 {
        let answer = dev.send("PUT", &at, ("idempotency-key", "k-1"), "fourth").await.expect(200);
        assert_eq!(answer["version"], 3);
    }
    dev.send("PUT", &at, ("idempotency-key", "k-1"), "fifth").await.refused(422, "BH0014");
    dev.send("DELETE", &at, ("if-match", &tag), "").await.refused(412, "BH0013");
    dev.delete(&at).await.expect(204);
    dev.delete(&at).await.refused(404, "BH0005");
    // Made again, it is another: no tag of before is good for it.
    let again = dev.put(&at, MARKER).await;
    assert_ne!(again.headers["etag"].to_str().unwrap(), tag);
}

#[tokio::test]
async fn what_is_no_value_or_no_name_is_refused() {
    let server = Server::with(|config| config.quotas.entries = 3).await;
    let dev = server.tenant("acme").await;
    let at = |rest: &str| format!("{PROJECTS}/default/{rest}");
    dev.put(&at("secrets/a"), "").await.refused(400, "BH0007");
    dev.put(&at("secrets/a"), "x".repeat(64 * 1024 + 1)).await.refused(413, "BH0008");
    dev.put(&at("secrets/a"), "x".repeat(64 * 1024)).await.expect(201);
    dev.put(&at("config/a"), "{not json").await.refused(400, "BH0007");
    dev.put(&at("config/a"), format!("\"{}\"", "x".repeat(16 * 1024))).await.refused(413, "BH0008");
    for name in ["A", "a_b", "..%2Fb", "a%20b", &"a".repeat(64)] {
        dev.put(&at(&format!("secrets/{name}")), "x").await.refused(400, "BH0007");
    }
    dev.put(&at("secrets/b"), "x").await.expect(201);
    dev.put(&at("config/c"), "1").await.expect(201);
    dev.put(&at("config/d"), "1").await.refused(422, "BH0085");
    dev.put(&at("config/c"), "2").await.expect(200);
}

fn with(stage: &str) -> String {
    MANIFEST.replace("    module: m\n", &format!("    module: m\n    {stage}\n"))
}

#[tokio::test]
async fn a_missing_secret_or_entry_is_refused_by_name_and_config_is_taken_when_applied() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    let manifest = with(
        "config: {own: 1, over: 1}\n    configFrom: {shared: all, over: all}\n    secrets: {password: db-password}",
    );
    let refused = dev.put(PIPELINE, manifest.clone()).await;
    let problem = refused.refused(422, "BH0201");
    let mut codes: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|e| e["code"].as_str().unwrap()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["BH0220", "BH0221"]);
    assert!(problem.to_string().contains("`db-password`") && problem.to_string().contains("`all`"), "{problem}");

    set(&dev, "default", "all", json!([1, 2])).await;
    secret(&dev, "default", "db-password", MARKER).await;
    let plan = dev.put(&format!("{PIPELINE}?dryRun=true"), manifest.clone()).await.expect(200);
    assert_eq!(plan["applied"], "created");
    dev.put(PIPELINE, manifest.clone()).await.expect(201);
    let assigned = async || server.worker().get("/internal/v1/assignment?worker=pool-0").await.expect(200);
    let first = assigned().await;
    let settings = |assignment: &Value| {
        let stages = assignment["pipelines"][0]["spec"]["stages"].as_array().unwrap();
        stages.iter().find(|stage| stage["name"] == "first").unwrap()["settings"].as_str().unwrap().to_owned()
    };
    assert_eq!(settings(&first), r#"{"own":1,"over":1,"shared":[1,2]}"#);
    assert!(!first.to_string().contains(MARKER));

    // Config is what it was when the pipeline was applied; a secret's stamp moves at once.
    set(&dev, "default", "all", json!("new")).await;
    secret(&dev, "default", "db-password", "another").await;
    let second = assigned().await;
    assert_eq!(settings(&second), settings(&first));
    assert_ne!(second["pipelines"][0]["secrets"], first["pipelines"][0]["secrets"]);
    assert!(second["generation"].as_u64() > first["generation"].as_u64());
    assert_eq!(dev.put(PIPELINE, manifest).await.expect(200)["revision"], 2, "the same text means something new");
    assert_eq!(settings(&assigned().await), r#"{"own":1,"over":1,"shared":"new"}"#);
    let back = dev.post(&format!("{PIPELINE}/rollback"), &json!({"revision": 1})).await.expect(200);
    assert_eq!(back["revision"], 3);
    assert_eq!(settings(&assigned().await), settings(&first), "a revision keeps its config");
}

#[tokio::test]
async fn an_import_of_secrets_needs_the_grant() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.put(&format!("{PROJECTS}/default/modules/m"), component("secrets")).await.expect(201);
    let problem = dev.put(PIPELINE, MANIFEST).await.refused(422, "BH0201");
    let first = problem["errors"].as_array().unwrap().iter().find(|e| e["field"] == "stages[first].secrets").unwrap();
    assert_eq!(first["code"], "BH0210");
}

#[tokio::test]
async fn a_secret_that_a_pipeline_needs_stays_and_one_that_lies_around_takes_over() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    for name in ["shop", "shop.eu"] {
        project(&dev, name).await;
    }
    dev.put(&format!("{PROJECTS}/shop.eu/modules/m"), component("1")).await.expect(201);
    secret(&dev, "shop", "db-password", "around").await;
    secret(&dev, "shop.eu", "db-password", "own").await;
    let at = format!("{PROJECTS}/shop.eu/pipelines/p");
    dev.put(&at, with("secrets: [db-password]")).await.expect(201);
    let lent = async || {
        let path = "/internal/v1/tenants/acme/projects/shop.eu/pipelines/p/secrets";
        let answer = server.worker().get(path).await.expect(200);
        hex::decode(answer["secrets"]["db-password"]["value"].as_str().unwrap()).unwrap()
    };
    assert_eq!(lent().await, b"own");
    dev.delete(&format!("{PROJECTS}/shop.eu/secrets/db-password")).await.expect(204);
    assert_eq!(lent().await, b"around");
    let refused = dev.delete(&format!("{PROJECTS}/shop/secrets/db-password")).await.refused(409, "BH0064");
    assert!(refused["detail"].as_str().unwrap().contains("`shop.eu/p`"), "{refused}");
    assert_eq!(lent().await, b"around", "a refused deletion deletes nothing");
    dev.put(&at, MANIFEST).await.expect(200);
    dev.delete(&format!("{PROJECTS}/shop/secrets/db-password")).await.expect(204);
}

#[tokio::test]
async fn a_worker_gets_what_a_pipeline_is_granted_and_nobody_else_gets_anything() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    secret(&dev, "default", "db-password", MARKER).await;
    secret(&dev, "default", "not-granted", "something else").await;
    dev.put(PIPELINE, with("secrets: {password: db-password}")).await.expect(201);
    let path = "/internal/v1/tenants/acme/projects/default/pipelines/p/secrets";
    let lent = server.worker().get(path).await.expect(200);
    assert_eq!(lent["secrets"].as_object().unwrap().keys().collect::<Vec<_>>(), ["db-password"]);
    assert_eq!(lent["secrets"]["db-password"]["value"], hex::encode(MARKER));
    for client in [dev.clone(), server.client("acme", Role::TenantAdmin), server.platform()] {
        client.get(path).await.refused(403, "BH0004");
    }
    // Each time a worker was given values is in the tenant's audit.
    let audit = server.client("acme", Role::TenantAdmin).get("/api/v1/tenants/acme/audit").await.expect(200);
    assert!(audit.to_string().contains("workers.secrets"), "{audit}");
}

#[tokio::test]
async fn no_file_and_no_answer_holds_a_secret() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    secret(&dev, "default", "db-password", MARKER).await;
    set(&dev, "default", "plain", json!(format!("config-{MARKER}"))).await;
    dev.send("PUT", &format!("{PROJECTS}/default/secrets/k"), ("idempotency-key", "k"), MARKER).await.expect(201);
    dev.put(PIPELINE, with("secrets: [db-password]")).await.expect(201);
    server.worker().get("/internal/v1/tenants/acme/projects/default/pipelines/p/secrets").await.expect(200);
    let admin = server.client("acme", Role::TenantAdmin);
    for path in [
        "projects/default/secrets",
        "projects/default/secrets/db-password",
        "projects/default/secrets?inherited=true",
        "projects/default/pipelines/p",
        "projects/default/pipelines/p/revisions/1",
        "audit",
        "keys",
    ] {
        let answer = admin.get(&format!("/api/v1/tenants/acme/{path}")).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text.contains(MARKER) && !answer.text.contains(&hex::encode(MARKER)), "{path} holds it");
    }
    // The write-ahead log is there now, and gone once control is closed: both are looked at.
    let look = |server: &Server| {
        let mut found = Vec::new();
        let hex = hex::encode(MARKER);
        let looked_at: usize = [MARKER.as_bytes(), hex.as_bytes()]
            .map(|bytes| holding(&server.data_dir(), bytes, &mut found))
            .iter()
            .sum();
        assert!(looked_at > 4, "only {looked_at} files were looked at");
        assert!(found.is_empty(), "in plain in {found:?}");
    };
    assert!(!server.metadata.is_file() || server.data_dir().join("control.db-wal").exists());
    look(&server);
    let server = server.restart().await;
    look(&server);
    let lent = server.worker().get("/internal/v1/tenants/acme/projects/default/pipelines/p/secrets").await.expect(200);
    assert_eq!(lent["secrets"]["db-password"]["value"], hex::encode(MARKER));
}

#[tokio::test]
async fn a_row_that_was_copied_does_not_open() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    let globex = server.tenant("globex").await;
    globex.put("/api/v1/tenants/globex/projects/default/config/stolen", format!("\"{MARKER}\"")).await.expect(201);
    set(&dev, "default", "stolen", json!("mine")).await;
    set(&dev, "default", "other", json!("other")).await;
    let Some(database) = database(&server).await else { return };
    let copies = [
        // Another tenant's value, with all that its row has; another name's; an earlier version's.
        "UPDATE entries SET (sealed, made_ms, version, key_version) =
            (SELECT sealed, made_ms, version, key_version FROM entries WHERE tenant = 'globex') WHERE tenant = 'acme' AND name = 'stolen'",
        "UPDATE entries SET (sealed, made_ms, version) = (SELECT sealed, made_ms, version FROM entries WHERE tenant = 'acme' AND name = 'other')
            WHERE tenant = 'acme' AND name = 'stolen'",
        "UPDATE entries SET version = version + 1 WHERE tenant = 'acme' AND name = 'stolen'",
    ];
    for copy in copies {
        set(&dev, "default", "stolen", json!("mine")).await;
        sqlx::query(copy).execute(&database).await.unwrap();
        let refused = dev.get(&format!("{PROJECTS}/default/config/stolen")).await.refused(500, "BH0062");
        assert!(!refused.to_string().contains(MARKER) && !refused.to_string().contains("globex"), "{refused}");
        // It says to set it again, and that helps.
        dev.put(&format!("{PROJECTS}/default/config/stolen"), "\"mine again\"").await.expect(200);
        let again = dev.get(&format!("{PROJECTS}/default/config/stolen")).await.expect(200);
        assert_eq!(again["value"], "mine again");
    }
    // A whole key that was copied opens nothing either.
    sqlx::query("UPDATE tenant_keys SET wrapped = (SELECT wrapped FROM tenant_keys WHERE tenant = 'globex') WHERE tenant = 'acme'")
        .execute(&database)
        .await
        .unwrap();
    let refused = dev.get(&format!("{PROJECTS}/default/config/other")).await.refused(503, "BH0061");
    assert!(!refused.to_string().contains("globex"), "{refused}");
}

#[tokio::test]
async fn a_tenants_key_rotates_and_everything_opens() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    let admin = server.client("acme", Role::TenantAdmin);
    let first = admin.get("/api/v1/tenants/acme/keys").await.expect(200);
    assert_eq!((&first["items"][0]["version"], first["items"].as_array().map(Vec::len)), (&json!(1), Some(1)));
    set(&dev, "default", "a", json!(1)).await;
    let keep = dev.put(&format!("{PROJECTS}/default/config/a"), "1").await.headers["etag"].clone();
    for version in 2..=3 {
        let keys = admin.post("/api/v1/tenants/acme/keys/rotate", &Value::Null).await.expect(200);
        let newest = keys["items"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((&newest["version"], &newest["current"]), (&json!(version), &json!(true)), "{keys}");
        let shown = dev.get(&format!("{PROJECTS}/default/config/a")).await;
        assert_eq!(shown.headers["etag"], keep, "a rotation is no change of the value");
        assert_eq!(shown.expect(200)["value"], 1);
    }
    let Some(database) = database(&server).await else { return };
    let (old,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM entries WHERE key_version < 3").fetch_one(&database).await.unwrap();
    assert_eq!(old, 0, "something is still sealed under an old version");
    dev.post("/api/v1/tenants/acme/keys/rotate", &Value::Null).await.refused(403, "BH0004");
}

#[tokio::test]
async fn the_master_key_rotates_while_nothing_is_lost() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    set(&dev, "default", "a", json!(1)).await;
    let keys = server.data_dir().join("keys");
    let previous = keys.join("master.previous.key");
    std::fs::rename(keys.join("master.key"), &previous).unwrap();
    let before = std::fs::read(&previous).unwrap();
    let source = MasterKeySource::File(previous.clone());
    let server = server.restart_with(move |config| config.master_key_previous = Some(source)).await;
    assert_ne!(std::fs::read(keys.join("master.key")).unwrap(), before, "a new key was made");
    let dev = server.client("acme", Role::Developer);
    assert_eq!(dev.get(&format!("{PROJECTS}/default/config/a")).await.expect(200)["value"], 1);

    // What the background does, until the previous key is no longer needed.
    let Some(pool) = database(&server).await else { return };
    let wrapped = async || -> String {
        sqlx::query_as::<_, (String,)>("SELECT wrapped FROM tenant_keys").fetch_one(&pool).await.unwrap().0
    };
    let first = wrapped().await;
    let control = server.control.clone();
    let background = tokio::spawn(async move { control.run().await });
    server.until("the keys to be wrapped again", async || wrapped().await != first).await;
    background.abort();
    let _ended = background.await;
    std::fs::remove_file(&previous).unwrap();
    let server = server.restart().await;
    let dev = server.client("acme", Role::Developer);
    assert_eq!(dev.get(&format!("{PROJECTS}/default/config/a")).await.expect(200)["value"], 1);
}

#[tokio::test]
async fn a_deleted_tenants_values_never_come_back() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    set(&dev, "default", "a", json!(MARKER)).await;
    let Some(pool) = database(&server).await else { return };
    let kept: (String, i64, i64) =
        sqlx::query_as("SELECT sealed, made_ms, version FROM entries").fetch_one(&pool).await.unwrap();
    server.platform().delete("/api/v1/tenants/acme").await;
    let (left,): (i64,) = sqlx::query_as("SELECT (SELECT COUNT(*) FROM tenant_keys) + (SELECT COUNT(*) FROM entries)")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(left, 0);
    // A tenant of the same name, and a row that came back from a backup.
    let made = async || server.platform().post("/api/v1/tenants", &json!({"name": "acme"})).await.status == 201;
    server.until("the name to be free", made).await;
    let dev = server.client("acme", Role::Developer);
    server
        .until("a token that is younger than the tenant", async || {
            dev.get(&format!("{PROJECTS}/default/config")).await.status == 200
        })
        .await;
    set(&dev, "default", "a", json!("new")).await;
    sqlx::query("UPDATE entries SET sealed = $1, made_ms = $2, version = $3")
        .bind(kept.0)
        .bind(kept.1)
        .bind(kept.2)
        .execute(&pool)
        .await
        .unwrap();
    dev.get(&format!("{PROJECTS}/default/config/a")).await.refused(500, "BH0062");
}
