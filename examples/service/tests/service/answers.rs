//! What each route answers while all is well.

use serde_json::{Value, json};

use crate::running::Running;

#[tokio::test]
async fn accounts_are_created_read_renamed_listed_and_deleted() {
    let service = Running::start(5).await;
    let client = &service.client;
    let made = client.send("POST", "/accounts", r#"{"owner":"Ada","balance":100}"#).await;
    assert_eq!((made.status, made.json()["owner"].as_str()), (201, Some("Ada")));
    let path = format!("/accounts/{}", made.json()["id"]);
    assert_eq!(client.get(&path).await.json(), made.json());
    let renamed = client.send("PUT", &path, r#"{"owner":"Ada L."}"#).await;
    assert_eq!((renamed.status, renamed.json()["balance"].as_i64()), (200, Some(100)));
    let other = client.account("Grace", 0).await;
    let list = client.get("/accounts?limit=1").await.json();
    assert_eq!(list, json!([renamed.json()]));
    let list = client.get(&format!("/accounts?after={}", renamed.json()["id"])).await.json();
    assert_eq!(list, json!([{ "id": other, "owner": "Grace", "balance": 0 }]));
    assert_eq!(client.send("DELETE", &path, "").await.status, 204);
    for method in ["GET", "DELETE"] {
        let gone = client.send(method, &path, "").await;
        assert_eq!((gone.status, gone.json()["outcome"].as_str()), (404, Some("not-done")));
    }
}

#[tokio::test]
async fn what_the_table_refuses_is_told_with_its_constraint() {
    let service = Running::start(5).await;
    let client = &service.client;
    let refused = client.send("POST", "/accounts", r#"{"owner":""}"#).await;
    assert_eq!(refused.status, 409);
    assert_eq!(refused.json()["constraint"], "account_owner_check");
    assert_eq!(client.send("POST", "/accounts", "{}").await.status, 422);
    assert_eq!(client.get("/accounts/seven").await.status, 400);
    let nul = client.send("POST", "/accounts", r#"{"owner":"\u0000"}"#).await;
    assert_eq!((nul.status, nul.json()["outcome"].as_str()), (422, Some("not-done")), "{nul:?}");
}

#[tokio::test]
async fn a_transfer_is_made_once_however_often_it_is_sent() {
    let service = Running::start(5).await;
    let client = &service.client;
    let (ada, grace) = (client.account("Ada", 100).await, client.account("Grace", 0).await);
    let transfer = |payee: i64, amount: i64| {
        json!({ "payer": ada, "payee": payee, "amount": amount }).to_string()
    };
    let put =
        async |id: &str, body: String| client.send("PUT", &format!("/transfers/{id}"), body).await;
    assert_eq!(put("a", transfer(grace, 60)).await.status, 201);
    assert_eq!(put("a", transfer(grace, 60)).await.status, 200);
    assert_eq!(put("a", transfer(grace, 61)).await.status, 409);
    let poor = put("b", transfer(grace, 60)).await;
    assert_eq!((poor.status, &poor.json()["constraint"]), (409, &json!("account_balance_check")));
    assert_eq!(put("c", transfer(0, 1)).await.status, 404);
    assert_eq!(put("d", transfer(ada, 1)).await.status, 409);
    assert_eq!(put("e", transfer(grace, -1)).await.status, 409);
    let balances: Vec<Value> = client.get("/accounts").await.json().as_array().unwrap().clone();
    let balances: Vec<_> = balances.iter().map(|account| &account["balance"]).collect();
    assert_eq!(balances, [40, 60]);
}

#[tokio::test]
async fn csv_goes_up_and_comes_down() {
    let service = Running::start(5).await;
    let client = &service.client;
    let up = client.send("POST", "/accounts.csv", "owner,balance\nAda,1\n\"a, b\",2\n").await;
    assert_eq!((up.status, &up.json()["rows"]), (201, &json!(2)));
    let down = client.get("/accounts.csv").await;
    assert_eq!((down.status, &*down.text), (200, "id,owner,balance\n1,Ada,1\n2,\"a, b\",2\n"));
    let wrong = client.send("POST", "/accounts.csv", "owner,balance\nAda,1\nBob,much\n").await;
    assert_eq!((wrong.status, &wrong.json()["line"]), (422, &json!(3)), "{wrong:?}");
    assert_eq!(client.get("/accounts.csv").await.text.lines().count(), 3);
}

#[tokio::test]
async fn health_has_the_numbers_of_the_pools() {
    let service = Running::start(5).await;
    let health = service.client.get("/health").await;
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("up")));
    assert_eq!(health.json()["pool"]["most"], 5);
    assert_eq!(health.json()["pool"]["open"], 3);
}
