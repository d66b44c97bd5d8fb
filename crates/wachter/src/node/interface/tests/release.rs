use wachter_api::shapes::{ApplyBundle, Pin, Rollback};
use wachter_api::{
    ApplyReleaseBundle, Nothing, PinRelease, ProblemKind, ReloadConfiguration, RollBack,
    Synchronize, UnpinRelease,
};

use super::site::{Site, nowhere, refused};

#[tokio::test]
async fn orders_reach_who_decides_and_the_answer_comes_back() {
    let site = Site::with(&[]).await;
    let until = "2027-01-01T00:00:00Z".parse().unwrap();
    assert!(site.get::<Synchronize>().await.changed);
    assert!(site.get::<UnpinRelease>().await.changed);
    assert_eq!(site.get::<ReloadConfiguration>().await.changed, ["log.level"]);
    let roll_back = async |to| site.call::<RollBack>(&Nothing {}, &Rollback { to }).await;
    assert!(roll_back(Some(1)).await.unwrap().changed);
    refused(roll_back(None).await, ProblemKind::Conflict, "there is no such release");
    let pin = async |sequence| site.call::<PinRelease>(&Nothing {}, &Pin { sequence, until }).await;
    assert!(pin(Some(1)).await.unwrap().changed);
    refused(pin(None).await, ProblemKind::Invalid, "yesterday");
    let apply = async |path: &str| {
        site.call::<ApplyReleaseBundle>(&Nothing {}, &ApplyBundle { path: path.to_owned() }).await
    };
    refused(apply("here.bundle").await, ProblemKind::Invalid, "not an absolute path");
    let path = nowhere().display().to_string();
    refused(apply(&path).await, ProblemKind::Refused, "signed by nobody");
    let orders = site.orders.lock().unwrap().clone();
    let expected = ["Look(", "Unpin(", "Reload(", "RollBack(Some(1)", "RollBack(None"];
    assert_eq!(orders.len(), 8, "{orders:?}");
    for (order, expected) in orders.iter().zip(expected) {
        assert!(order.starts_with(expected), "{order}");
    }
    assert!(orders[5].contains("2027-01-01T00:00:00Z"), "{orders:?}");
}
