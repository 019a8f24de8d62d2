//! Where a single Redis listens.

use paceline_store::{ErrorClass, Store};
use paceline_testkit::TestRedis;

use crate::support::config;

#[tokio::test]
async fn loopback_and_sockets_both_work_and_no_server_is_an_error_at_once() {
    let redis = TestRedis::on_loopback(&[]).await;
    let store = Store::connect(&config(redis.url(), 1)).await.expect("there");
    store.ping().await.expect("there");
    assert!(store.connected());
    store.close().await;
    drop(redis);
    let absent = Store::connect(&config("redis+unix:///nowhere/redis.sock", 1)).await;
    assert_eq!(absent.expect_err("nobody").class(), ErrorClass::Unavailable);
}

#[tokio::test]
async fn a_socket_is_found_by_its_path_as_it_is() {
    let redis = TestRedis::start().await;
    let socket = redis.url().trim_start_matches("redis+unix://");
    let dir = std::env::temp_dir().join(format!("paceline socket {}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let link = dir.join("redis.sock");
    std::os::unix::fs::symlink(socket, &link).expect("a link");
    let connected = Store::connect(&config(&format!("redis+unix://{}", link.display()), 1)).await;
    std::fs::remove_dir_all(&dir).expect("removed");
    connected.expect("a path with spaces is a path");
}
