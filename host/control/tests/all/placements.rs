//! Where a tenant's metadata is: what is asked for is what is made, and what is made goes with the tenant.

use crate::harness::Server;
use crate::pipelines::{MANIFEST, ready};
use bulkhead_control::Role;
use bulkhead_test_services::Postgres;
use serde_json::json;
use std::sync::Arc;

const AT: &str = "/api/v1/tenants/acme/projects/default/pipelines/p";

fn rows(server: &Server, tenant: &str, table: &str) -> Option<String> {
    let (schema, database) = server.metadata.home(tenant)?;
    let sql = format!("SELECT COUNT(*) FROM \"{schema}\".{table} WHERE tenant = '{tenant}'");
    Some(Postgres::shared().run(&database, &sql).unwrap_or_else(|error| error.to_string()))
}

#[tokio::test]
async fn a_tenants_rows_are_where_it_lives_and_nowhere_else() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.put(AT, MANIFEST).await.expect(201);
    let shown = dev.get("/api/v1/tenants/acme").await.expect(200);
    let Some((schema, database)) = server.metadata.home("acme") else {
        assert_eq!(shown["placement"]["metadata"], "shared");
        return;
    };
    assert_eq!(rows(&server, "acme", "pipelines").as_deref(), Some("1"));
    let shared = server.metadata.shared();
    let here = shared.run("SELECT COUNT(*) FROM bulkhead.pipelines").unwrap();
    let own = (schema.as_str(), database.as_str()) != ("bulkhead", shared.name.as_str());
    assert_eq!(here, if own { "0" } else { "1" });
    assert_eq!(shown["placement"]["metadata"] != "shared", own);
}

#[tokio::test]
async fn a_home_of_ones_own_goes_with_its_tenant() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.put(AT, MANIFEST).await.expect(201);
    let control = Arc::clone(&server.control);
    let background = tokio::spawn(async move { control.run().await });
    server.platform().delete("/api/v1/tenants/acme").await;
    let again = json!({"name": "acme"});
    server
        .until("the name is free", async || server.platform().post("/api/v1/tenants", &again).await.status == 201)
        .await;
    assert!(rows(&server, "acme", "pipelines").is_none_or(|rows| rows == "0"));
    let viewer = server.client("acme", Role::Viewer);
    assert_eq!(viewer.get("/api/v1/tenants/acme/projects/default/pipelines").await.expect(200)["items"], json!([]));
    server.control.stop();
    background.await.unwrap();
}

#[tokio::test]
async fn a_placement_that_cannot_be_made_is_refused_and_one_that_is_not_known_too() {
    let server = Server::start().await;
    let wanted = |place: &str| json!({"name": "globex", "placement": {"metadata": place}});
    server.platform().post("/api/v1/tenants", &wanted("cellar")).await.refused(400, "BH0007");
    for place in ["schema", "database"] {
        let made = server.platform().post("/api/v1/tenants", &wanted(place)).await;
        if server.metadata.is_file() {
            made.refused(422, "BH0624");
        } else {
            assert_eq!(made.expect(201)["placement"]["metadata"], place);
            server.platform().delete("/api/v1/tenants/globex").await.expect(200);
        }
    }
    let shared = server.platform().post("/api/v1/tenants", &wanted("shared")).await.expect(201);
    assert_eq!(shared["placement"]["metadata"], "shared");
}

/// Tenants of three placements on one server; then the database of one does not answer.
#[tokio::test]
async fn one_tenants_own_database_that_is_away_holds_up_nobody_else() {
    let server = Server::start().await;
    if server.metadata.is_file() {
        return;
    }
    let own = json!({"name": "globex", "placement": {"metadata": "database"}});
    server.platform().post("/api/v1/tenants", &own).await.expect(201);
    let globex = crate::pipelines::filled(&server, "globex").await;
    globex.put("/api/v1/tenants/globex/projects/default/pipelines/p", MANIFEST).await.expect(201);
    let acme = ready(&server, "acme").await;
    let told = || async { server.worker().get("/internal/v1/assignment?worker=pool-0").await.expect(200) };
    assert_eq!(told().await["pipelines"].as_array().unwrap().len(), 1);

    let database = server.metadata.own_database("globex");
    let shared = server.metadata.shared();
    shared.run(&format!("ALTER DATABASE \"{database}\" ALLOW_CONNECTIONS false")).unwrap();
    shared
        .run(&format!("SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{database}'"))
        .unwrap();
    globex.get("/api/v1/tenants/globex/projects/default/pipelines/p").await.refused(503, "BH0620");
    acme.put(AT, MANIFEST).await.expect(201);
    let pipelines = told().await["pipelines"].clone();
    let names: Vec<_> = pipelines.as_array().unwrap().iter().map(|one| one["tenant"].as_str().unwrap()).collect();
    assert_eq!(names, ["acme", "globex"], "what runs goes on running");
    let report = crate::workers::report("pool-0", "boot-1", 1, 42);
    server.worker().post("/internal/v1/report", &report).await.expect(204);
    assert_eq!(acme.get(AT).await.expect(200)["status"]["totals"]["recordsIn"], 42);

    shared.run(&format!("ALTER DATABASE \"{database}\" ALLOW_CONNECTIONS true")).unwrap();
    globex.get("/api/v1/tenants/globex/projects/default/pipelines/p").await.expect(200);
}
