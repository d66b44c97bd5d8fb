//! Modules in Python on a node: what becomes of one whose packages are there, and of one whose are not.

use std::fs;

use serde_json::{Value, json};
use wachter_testkit::{PackageIndex, Wheel};

use crate::site::Site;

const MAIN: &str = "
import parcel, wachter_module
def execute(context):
    return wachter_module.unchanged(f'parcel {parcel.value}')
wachter_module.run(execute)
";

/// A node's site with a module in Python, and what is told of it.
struct Python {
    site: Site,
    index: PackageIndex,
}

impl Python {
    /// None where there is no `uv`.
    fn new() -> Option<Self> {
        let uv = wachter_testkit::uv()?;
        let index = PackageIndex::serve().unwrap();
        let site = Site::new();
        let path = site.path("node.yaml");
        let local = fs::read_to_string(&path).unwrap();
        let python = format!(
            "python: {{ index: '{}', network_ranges: [127.0.0.0/8], uv: '{}' }}",
            index.url(),
            uv.display()
        );
        let local = local.replace("development: false", "development: true");
        fs::write(path, format!("{}\n{python}\n", local.trim_end())).unwrap();
        site.ok(&["module", "new", "parcels", "--python", "--requirements"]);
        site.write("modules/parcels/main.py", MAIN);
        let manifest = fs::read_to_string(site.path("infra/modules/parcels/module.yaml")).unwrap();
        let manifest = manifest.replace("emits: [\"parcels.problem\"]\n", "");
        site.write("modules/parcels/module.yaml", &manifest);
        site.write(
            "config/agents/parcels.yaml",
            "name: parcels\nmodule: parcels\non: { schedule: { every: 200ms } }\n",
        );
        Some(Self { site, index })
    }

    /// Makes a release with this lock file.
    fn release(&self, lock: &str) {
        self.site.write("modules/parcels/requirements.lock", lock);
        self.site.release();
    }

    /// What the module waits for.
    fn waits_for(&self) -> Value {
        let modules = self.site.json(&["modules"]);
        let mut modules = modules.as_array().unwrap().iter();
        modules.find(|module| module["name"] == "parcels").unwrap()["waits_for"].clone()
    }
}

#[test]
fn packages_are_fetched_once_and_are_there_when_nothing_else_is() {
    let Some(python) = Python::new() else { return };
    let (site, index) = (&python.site, &python.index);
    let one = index.add(&Wheel::new("parcel", "1.0"));
    let wrong = format!("parcel==1.0 --hash=sha256:{}\n", "0".repeat(64));
    python.release(&wrong);
    let mut node = site.start();
    node.hear("its environment cannot be built");
    node.hear("another file than was locked");
    // It costs that module alone.
    node.hear("hello succeeded");
    let waits_for = python.waits_for();
    assert!(waits_for.as_str().unwrap().contains("Hash mismatch for `parcel==1.0`"), "{waits_for}");
    let status = site.json(&["status"]);
    assert!(status.to_string().contains("module parcels waits: "), "{status}");
    // What is meant for it waits with it.
    site.ok(&["agents", "run", "parcels"]);
    let told = site.json(&["events", "--topic", "environment.failed"]);
    assert!(told.to_string().contains("parcel==1.0"), "{told}");

    python.release(&one);
    node.forget();
    site.ok(&["sync"]);
    node.hear("its environment was built");
    node.hear("parcels succeeded");
    node.hear("parcel 1.0");
    assert_eq!(python.waits_for(), Value::Null);
    let requested = || {
        let finished = site.json(&["events", "--topic", "run.finished", "--limit", "1000"]);
        finished.to_string().contains("\"requested\"")
    };
    while !requested() {
        node.hear("parcels succeeded");
    }
    assert_eq!(site.json(&["dead-letters", "list"]), json!([]));
    let told = site.json(&["events", "--topic", "environment.built"]);
    assert!(told.to_string().contains("parcels"), "{told}");

    // Another release, and back, with an index that answers nobody any more.
    python.release(&index.add(&Wheel::new("parcel", "2.0")));
    node.forget();
    site.ok(&["sync"]);
    node.hear("parcel 2.0");
    index.close();
    node.forget();
    site.ok(&["rollback"]);
    node.hear("parcel 1.0");
    drop(node);
    let mut node = site.start();
    node.hear("parcel 1.0");
    // By hand, with a launcher of its own that shares what is there.
    assert_eq!(site.json(&["exec", "parcels"])["message"], "parcel 1.0");
    drop(node);
    assert_eq!(site.json(&["exec", "parcels"])["message"], "parcel 1.0");
}

#[test]
fn a_module_under_development_has_its_packages_too() {
    let Some(python) = Python::new() else { return };
    let (site, index) = (&python.site, &python.index);
    let lock = index.add(&Wheel::new("parcel", "1.0"));
    site.write("modules/parcels/requirements.lock", &lock);
    let tested = site.wachter(&["module", "test", "modules/parcels"]);
    assert_eq!(
        tested.stdout, "ok      dry run\nok      run\nok      run again\n",
        "{}",
        tested.stderr
    );
    assert!(tested.stderr.contains("parcel==1.0"), "what uv does is shown: {}", tested.stderr);
    index.close();
    let record = site.json(&["exec", "./modules/parcels"]);
    assert_eq!(record["message"], "parcel 1.0");
    site.write("modules/parcels/requirements.lock", "parcel==1.0\n");
    let said = site.wachter(&["exec", "./modules/parcels"]);
    assert_eq!(said.code, 3, "{}", said.stderr);
    assert!(said.stderr.contains("--generate-hashes"), "{}", said.stderr);
}
