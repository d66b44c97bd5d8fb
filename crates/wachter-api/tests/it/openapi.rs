use wachter_api::{ROUTES, openapi};

#[test]
fn describes_every_route() {
    let document = openapi();
    for route in ROUTES {
        let operation = &document["paths"][route.path][route.method.to_string().to_lowercase()];
        assert_eq!(operation["operationId"], route.name, "{route:?}");
        assert_eq!(operation["x-role"], route.role.to_string());
    }
    let operations: usize = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|path| path.as_object().unwrap().len())
        .sum();
    assert_eq!(operations, ROUTES.len(), "two routes have one path and method");
}

#[test]
fn every_reference_leads_somewhere() {
    let document = openapi();
    let text = document.to_string();
    let references: Vec<_> = text.split("\"$ref\":\"").skip(1).collect();
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.split('"').next().unwrap().strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}

#[test]
fn the_published_copy_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/node-api.v1.openapi.json");
    let mut text = serde_json::to_string_pretty(&openapi()).unwrap();
    text.push('\n');
    if std::env::var_os("WACHTER_UPDATE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).is_ok_and(|published| published == text),
        "schemas/node-api.v1.openapi.json is out of date: run this test once with WACHTER_UPDATE=1 and look at the difference"
    );
}
