use std::fmt::Write as _;

use wachter_api::ROUTES;

const BEGIN: &str = "<!-- The table of endpoints, as a test of wachter-api writes it. -->\n";

/// The page's table, made of the declarations.
fn table() -> String {
    let mut table = "| endpoint | role | what it does | |\n|---|---|---|---|\n".to_owned();
    for route in ROUTES {
        let streams = if route.streaming { "streams" } else { "" };
        let (method, path) = (route.method.to_string(), route.path);
        let line =
            format!("| `{method} {path}` | {} | {} | {streams} |", route.role, route.summary);
        writeln!(table, "{line}").unwrap();
    }
    table
}

#[test]
fn the_page_lists_every_endpoint() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/api.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has the mark");
    let after = rest.trim_start_matches('\n');
    let after = after.split_once("\n\n").map_or("", |(_, after)| after);
    let after = if after.is_empty() { String::new() } else { format!("\n{after}") };
    let written = format!("{before}{BEGIN}\n{}{after}", table());
    if std::env::var_os("WACHTER_UPDATE").is_some() {
        std::fs::write(path, &written).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap() == written,
        "docs/src/api.md is out of date: run this test once with WACHTER_UPDATE=1 and look at the difference"
    );
}
