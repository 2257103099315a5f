//! Runs side by side: what is compared, what is refused, and what the results say.

use std::fs;
use std::path::{Path, PathBuf};

use aaren_agents::compare::{CompareOptions, Comparison, compare};
use aaren_agents::config::{Changes, OfflineJob};
use aaren_agents::run::report::EvaluationReport;
use aaren_agents::run::{RunDir, write_json_atomically};
use aaren_policy::mixer::CachePolicy;
use serde_json::{Value, json, to_value};

use crate::common::*;

fn run(folder: &Path, name: &str, overrides: &[&str]) -> PathBuf {
    let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
    let config = OfflineJob::quickstart(&overrides).unwrap();
    let path = folder.join(name);
    let run = RunDir::create(&path, &config, 2).unwrap();
    let evaluation = evaluation_report(name, &config, vec![target_report(Some(1.0), &[1.0, 0.5], 2)]);
    write_json_atomically(&run.path().join("evaluation.json"), &evaluation).unwrap();
    path
}

#[test]
fn evaluations_of_other_episodes_are_pointed_out() {
    let folder = tempfile::tempdir().unwrap();
    let (left, right) = (run(folder.path(), "left", &[]), run(folder.path(), "right", &[]));
    let note = "The evaluations differ in their number of episodes: [2], [3].";
    assert!(!page_of(folder.path(), &[left.clone(), right.clone()], &CompareOptions::default()).contains("evaluations differ"));
    let path = right.join("evaluation.json");
    let text = fs::read_to_string(&path).unwrap().replace("\"episodes\": 2", "\"episodes\": 3");
    fs::write(path, text).unwrap();
    assert!(page_of(folder.path(), &[left, right], &CompareOptions::default()).contains(note));
}

/// The Markdown page of a comparison of runs in a folder.
fn page_of(folder: &Path, runs: &[PathBuf], options: &CompareOptions) -> String {
    compare(runs, options).unwrap();
    fs::read_to_string(folder.join("compare/compare.md")).unwrap()
}

fn compared(runs: &[PathBuf], options: &CompareOptions) -> (Comparison, Value) {
    let comparison = compare(runs, options).unwrap();
    let content = to_value(&comparison).unwrap();
    (comparison, content)
}

fn message(runs: &[PathBuf]) -> String {
    format!("{:#}", compare(runs, &CompareOptions::default()).unwrap_err())
}

#[test]
fn runs_stand_side_by_side_with_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let left = run(folder.path(), "left", &[]);
    let right = run(folder.path(), "right", &["policy.mixer=transformer"]);
    let (comparison, content) = compared(&[left, right], &CompareOptions::default());
    assert_eq!(content["differences"], json!({ "policy.mixer": ["aaren", "transformer"] }));
    let page = fs::read_to_string(folder.path().join("compare/compare.md")).unwrap();
    for words in ["| left ", "transformer", "0.75 ± 0.25 (75.0)", "123456", "policy.mixer: \"aaren\", \"transformer\""] {
        assert!(page.contains(words), "{page}\nlacks {words}");
    }
    let json = fs::read_to_string(folder.path().join("compare/compare.json")).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["runs"][1]["mixer"], "transformer");
    assert!(comparison.to_string().contains("right"));
}

#[test]
fn runs_that_were_asked_for_other_returns_or_began_with_other_weights_are_other_agents() {
    let folder = tempfile::tempdir().unwrap();
    let seeded = |seed: usize| run(folder.path(), &format!("seed{seed}"), &[&format!("seed={seed}")]);
    let (one, two, begun, half) = (seeded(1), seeded(2), seeded(3), run(folder.path(), "half", &["seed=4"]));
    write_json_atomically(&begun.join("begun_from.json"), &json!({ "policy": "runs/old", "step": 7 })).unwrap();
    let config = OfflineJob::quickstart(&["seed=4".into()]).unwrap();
    let evaluation = evaluation_report("half", &config, vec![target_report(Some(0.5), &[0.5, 0.5], 2)]);
    write_json_atomically(&half.join("evaluation.json"), &evaluation).unwrap();

    let agents = |runs: &[&PathBuf]| {
        let runs: Vec<PathBuf> = runs.iter().map(|path| path.to_path_buf()).collect();
        let (_, content) = compared(&runs, &CompareOptions::default());
        let of_runs: Vec<u64> = content["runs"].as_array().unwrap().iter().map(|run| run["agent"].as_u64().unwrap()).collect();
        (of_runs, content["differences"]["weights"].clone())
    };
    assert_eq!(agents(&[&one, &two]), (vec![0, 0], Value::Null));
    assert_eq!(agents(&[&one, &half, &two]).0, [0, 1, 0]);
    assert_eq!(agents(&[&half, &one, &two]).0, [0, 1, 1], "whatever the order");
    let (of_runs, weights) = agents(&[&one, &begun, &two]);
    assert_eq!((of_runs, weights), (vec![0, 1, 0], json!(["drawn", "begun from runs/old", "drawn"])));
}

#[test]
fn data_are_told_apart_by_their_numbers_where_they_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let named = |name: &str, source: &str, checksum: u32| {
        let path = run(folder.path(), name, &[&format!(r#"data={{"source": "{source}"}}"#)]);
        let mark = json!({ "episodes": 3, "steps": 9, "checksum": checksum });
        write_json_atomically(&path.join("data.json"), &mark).unwrap();
        path
    };
    let (by_id, by_path) = (named("by-id", "hopper/medium-v0", 7), named("by-path", "/data/hopper/medium-v0", 7));
    let (_, content) = compared(&[by_id.clone(), by_path], &CompareOptions::default());
    assert_eq!((content["differences"].clone(), content["tasks"].as_array().unwrap().len()), (json!({}), 1));
    // The same name, and other numbers under it.
    let said = message(&[by_id, named("made-anew", "hopper/medium-v0", 8)]);
    assert!(said.contains("the data") && said.contains("\"checksum\":8"), "{said}");
}

#[test]
fn runs_on_other_tasks_or_data_are_refused_unless_forced() {
    let folder = tempfile::tempdir().unwrap();
    let left = run(folder.path(), "left", &[]);
    let options = run(folder.path(), "options", &["env.options.corridor=9"]);
    let data = run(folder.path(), "data", &["data.scripted.episodes=9"]);
    let said = message(&[left.clone(), options.clone()]);
    assert!(
        said.contains("its options") && said.contains("40") && said.contains("--force") && said.contains("--table"),
        "{said}"
    );
    assert!(message(&[left.clone(), data.clone()]).contains("the data"));
    assert!(!folder.path().join("compare").exists());
    let forced = CompareOptions { output: Some(folder.path().join("out")), force: true, ..Default::default() };
    let (forced, content) = compared(&[left, options, data], &forced);
    assert_eq!(content["incompatible"].as_array().unwrap().len(), 2);
    assert!(forced.to_string().contains("Not a fair comparison"));
    assert!(folder.path().join("out/compare.json").is_file());
}

#[test]
fn a_run_without_results_says_what_to_type() {
    let folder = tempfile::tempdir().unwrap();
    let left = run(folder.path(), "left", &[]);
    let right = run(folder.path(), "right", &[]);
    fs::remove_file(right.join("evaluation.json")).unwrap();
    let said = message(&[left.clone(), right.clone()]);
    assert!(said.contains(&format!("aaren evaluate {}", right.display())), "{said}");
    fs::write(right.join("evaluation.json"), "{}").unwrap();
    assert!(message(&[left.clone(), right]).contains("not a result of this version"));
    assert!(message(&[left]).contains("at least two"));
}

/// A run with returns of its own (scores are 100 times those), a learning curve, a latency and a best checkpoint.
fn full_run(folder: &Path, name: &str, last: &[f64], best: f64, overrides: &[&str]) -> PathBuf {
    let path = run(folder, name, overrides);
    let file = path.join("evaluation.json");
    let mut report: EvaluationReport = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let is_told =
        RunDir::open(&path).unwrap().job(&Changes::default()).unwrap().offline().unwrap().policy.tokens.has_return_to_go();
    let target = |target: Option<f64>, value: f64| target_report(target, &[value], 1);
    let asked: Vec<Option<f64>> = if is_told { vec![Some(1.0), Some(0.5)] } else { vec![None] };
    report.targets = asked.iter().zip(last).map(|(asked, value)| target(*asked, *value)).collect();
    let latency = json!({
        "steps": 40, "first_microseconds": 10.0, "last_microseconds": 12.0, "median_microseconds": 11.0, "state_bytes_first": 100,
        "state_bytes_last": 100,
        "points": [
            { "step": 20, "microseconds": 10.0, "state_bytes": 100 },
            { "step": 40, "microseconds": 12.0, "state_bytes": 100 },
        ],
    });
    report.latency = serde_json::from_value(latency).unwrap();
    write_json_atomically(&file, &report).unwrap();
    report.targets = asked.iter().map(|asked| target(*asked, best)).collect();
    report.checkpoint_step = 250;
    write_json_atomically(&path.join("evaluation-best.json"), &report).unwrap();
    let line = |step| json!({ "step": step, "evaluation/normalised_score": step as f64 / 10.0, "evaluation/return_std": 0.1 });
    let lines = [250, 500].map(|step| format!("{}\n", line(step)));
    fs::write(path.join("metrics.jsonl"), lines.concat() + "{\"step\": 6").unwrap();
    path
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

#[test]
fn the_last_evaluations_are_taken_together_where_there_are_five() {
    let folder = tempfile::tempdir().unwrap();
    let runs: Vec<PathBuf> = [1, 2]
        .map(|seed| {
            let path = full_run(folder.path(), &format!("seed{seed}"), &[0.4, 0.1], 0.9, &[&format!("seed={seed}")]);
            let score = |step: u64| step as f64 / 10.0 + seed as f64;
            let lines =
                (1..=6).map(|at| json!({ "step": 100 * at, "evaluation/normalised_score": score(100 * at) }).to_string() + "\n");
            fs::write(path.join("metrics.jsonl"), lines.collect::<String>()).unwrap();
            path
        })
        .into();
    let (comparison, content) = compared(&runs, &CompareOptions::default());
    // Steps 200 to 600 of both seeds.
    let recent = &content["cells"][0]["targets"][0]["recent"];
    assert_eq!((&recent["values"], &recent["mean"]), (&json!([41.0, 42.0]), &41.5.into()));
    assert_eq!(content["aggregates"][0]["recent_mean"], 41.5);
    let text = comparison.to_string();
    assert!(text.contains("mean of the last 5 evaluations while training") && text.contains("41.5 ± 0.5"), "{text}");
    // Four are too few.
    fs::write(runs[0].join("metrics.jsonl"), "{\"step\": 100, \"evaluation/normalised_score\": 1}\n").unwrap();
    let (comparison, content) = compared(&runs, &CompareOptions::default());
    assert!(content["cells"][0]["targets"][0]["recent"].is_null() && !comparison.to_string().contains("last 5"));
}

/// What the data said is not what makes an agent: other data, as scripted ones of other seeds are, leave it one.
#[test]
fn returns_that_the_data_say_do_not_tell_agents_apart() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        "env={\"id\": \"Pendulum-v1\"}",
        "data.scripted={\"episodes\": 3}",
        "policy.return_scale=null",
        "evaluation.target_returns=[\"best\", \"0.9 best\"]",
    ];
    let runs: Vec<PathBuf> = ["seed=1", "seed=2"]
        .map(|seed| {
            let path = folder.path().join(seed);
            train(&path, &small(&[&settings[..], &[seed, "train.steps=2", "evaluation.final_episodes=1"]].concat())).unwrap();
            path
        })
        .into();
    let (comparison, content) = compared(&runs, &CompareOptions::default());
    assert_eq!((&content["agents"], list(&content["cells"]).len()), (&json!(["aaren"]), 1));
    let targets = list(&content["cells"][0]["targets"]);
    assert_eq!((targets.len(), list(&targets[0]["last"]["values"]).len()), (2, 2));
    assert_eq!(targets[1]["asked"], "asked for return 2 of its data");
    assert!(comparison.to_string().contains("asked for return 1"), "{comparison}");
    // A run that goes on still says so.
    resume(&runs[0], &["train.steps=3"]).unwrap();
    assert_eq!(compared(&runs, &CompareOptions::default()).1["agents"].as_array().unwrap().len(), 2, "other steps");
    resume(&runs[1], &["train.steps=3"]).unwrap();
    assert_eq!(compared(&runs, &CompareOptions::default()).1["agents"], json!(["aaren"]));
}

const BC: &[&str] = &["policy.tokens=observation", "policy.mixer=mlp", "data.top_fraction=0.1"];

#[test]
fn seeds_are_one_cell_and_agents_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut runs = Vec::new();
    for (seed, last) in [(1, 0.4), (2, 0.6), (3, 0.8)] {
        let seed = format!("seed={seed}");
        runs.push(full_run(folder, &format!("aaren-{seed}"), &[last, 0.1], 0.9, &[&seed]));
        let bc = [BC, &[&seed, "train.log_every=7"]].concat();
        runs.push(full_run(folder, &format!("bc-{seed}"), &[last - 0.1], 0.5, &bc));
    }
    runs.push(full_run(folder, "long", &[0.7, 0.2], 0.7, &["train.steps=9000"]));
    let (comparison, content) = compared(&runs, &CompareOptions::default());
    assert_eq!(list(&content["tasks"]).len(), 1);
    let mut agents: Vec<&str> = list(&content["agents"]).iter().map(|agent| agent.as_str().unwrap()).collect();
    agents.sort();
    assert_eq!(agents, ["10 %-BC", "aaren (steps=500)", "aaren (steps=9000)"]);
    let (aaren, bc) = (&content["runs"][0]["agent"], &content["runs"][1]["agent"]);
    let cell = list(&content["cells"]).iter().find(|cell| cell["task"] == 0 && cell["agent"] == *aaren).unwrap();
    assert_eq!((&cell["seeds"], &cell["runs"]), (&json!([1, 2, 3]), &json!([0, 2, 4])));
    let number = |value: &Value| value.as_f64().unwrap();
    let rounded = |spread: &Value| ((number(&spread["mean"]) * 1e6).round() / 1e6, (number(&spread["std"]) * 1e3).round() / 1e3);
    assert_eq!(rounded(&cell["targets"][0]["last"]), (60.0, 16.33));
    assert_eq!(rounded(&cell["targets"][0]["best"]), (90.0, 0.0));
    assert_eq!(cell["targets"][1]["target_return"], 0.5);
    let curve: Vec<_> = list(&cell["curve"]).iter().map(|point| (number(&point["step"]), number(&point["mean"]))).collect();
    assert_eq!(curve, [(250.0, 25.0), (500.0, 50.0)]);
    assert_eq!(list(&cell["latency"]).iter().map(|point| number(&point["microseconds"])).collect::<Vec<_>>(), [10.0, 12.0]);
    // Of 9 pairs, BC's 30, 50, 70 is above 40, 60, 80 in three.
    let improvement = |agent: &Value, over: &Value| {
        let found = list(&content["improvements"]).iter().find(|found| found["agent"] == *agent && found["over"] == *over);
        number(&found.unwrap()["probability"]["value"])
    };
    assert!((improvement(bc, aaren) - 1.0 / 3.0).abs() < 1e-12 && (improvement(aaren, bc) - 2.0 / 3.0).abs() < 1e-12);

    let text = comparison.to_string();
    for words in ["60.0 ± 16.3", "50.0 ± 16.3", "90.0 ± 0.0", "10 %-BC", "none", "Interquartile mean", "Probability that a run"]
    {
        assert!(text.contains(words), "{text}\nlacks {words}");
    }
    let page = fs::read_to_string(folder.join("compare/compare.html")).unwrap();
    assert_eq!(page.matches("<figure>").count(), 5, "learning, target returns, episodes, latency, memory");
    assert_eq!(page.matches("<details>").count(), 7, "the job of every run");
    for words in ["asked = reached", "class=\"bar\"", ">expert<", ">random<"] {
        assert!(page.contains(words), "the page lacks {words}");
    }
    assert_eq!(page.matches("class=\"band\"").count(), 2, "spread over seeds of two agents, against the target return");
    for outside in ["http", "src=", "href=", "@import", "url("] {
        assert!(!page.contains(outside), "the page needs another file: {outside}");
    }
    assert!(!page.contains("NaN"), "{page}");
}

#[test]
fn several_tasks_make_rows_and_cells_that_are_missing_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let long = "env.options.corridor=90";
    let runs = [
        full_run(folder, "a", &[0.4, 0.1], 0.9, &[]),
        full_run(folder, "b", &[0.6, 0.1], 0.9, &["seed=2"]),
        full_run(folder, "c", &[0.2, 0.1], 0.9, &["policy.mixer=transformer"]),
        full_run(folder, "d", &[0.1, 0.1], 0.9, &[long]),
        full_run(folder, "e", &[0.3, 0.1], 0.9, &[long, "policy.mixer=transformer"]),
        full_run(folder, "f", &[0.3], 0.9, &[BC, &[long]].concat()),
    ];
    assert!(message(&runs).contains("--table"));
    let options = CompareOptions { table: true, ..Default::default() };
    let content = compared(&runs, &options).1;
    assert_eq!((list(&content["tasks"]).len(), list(&content["cells"]).len()), (2, 5));
    assert_eq!(content["incompatible"], json!([]));
    assert_eq!(content["agents"], json!(["aaren", "transformer", "10 %-BC"]));
    let page = page_of(folder, &runs, &options);
    for words in ["50.0 ± 10.0", "not run", "\"corridor\":90", "the 1 of 2 tasks that every agent has runs of"] {
        assert!(page.contains(words), "{page}\nlacks {words}");
    }
    let both = compared(&runs[..5], &options).1;
    assert_eq!((&both["aggregates"][0]["mean"], &both["aggregates"][1]["mean"]), (&json!(30.0), &json!(25.0)));
}

#[test]
fn one_run_with_several_caches_is_a_table_and_a_plot() {
    let folder = tempfile::tempdir().unwrap();
    let path = run(folder.path(), "long memory", &["policy.mixer=transformer"]);
    let evaluation = |cache: &str, entries: Option<usize>, reached: f64, state_bytes: usize| {
        let targets = [target_report(Some(1.0), &[reached], 1)];
        json!({ "cache": cache.parse::<CachePolicy>().unwrap(), "entries": entries, "targets": targets, "state_bytes": state_bytes,
                "microseconds": 1.0 })
    };
    let mut evaluations = vec![evaluation("full", None, 0.9, 9_000)];
    for (size, reached) in [(32, [0.61, 0.62, 0.63, 0.64]), (16, [0.41, 0.42, 0.43, 0.44])] {
        let caches = [format!("window:{size}"), format!("sink:4+{}", size - 4), format!("h2o:{size}"), format!("tova:{size}")];
        evaluations.extend(caches.iter().zip(reached).map(|(cache, reached)| evaluation(cache, Some(size), reached, 100 * size)));
    }
    let report = json!({ "format": 1, "run": "long memory", "checkpoint_step": 500, "seed": 1, "evaluations": evaluations });
    write_json_atomically(&path.join("evaluation-caches.json"), &report).unwrap();

    let comparison = compare(&[path], &CompareOptions::default()).unwrap();
    let page = fs::read_to_string(folder.path().join("compare/compare.md")).unwrap();
    let lines: Vec<String> = page.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "## Size of the KV cache, long memory",
        "| entries in each layer | 16 | 32 | full |",
        "| window | 0.41 ± 0 (41.0) | 0.61 ± 0 (61.0) | 0.9 ± 0 (90.0) |",
        "| tova | 0.44 ± 0 (44.0) | 0.64 ± 0 (64.0) | 0.9 ± 0 (90.0) |",
        "| state, last step | 1600 B | 3200 B | 9000 B |",
        "## Runs",
    ] {
        assert!(lines.iter().any(|found| found == line), "{page}\nlacks {line}");
    }
    assert!(comparison.to_string().contains("0.64 ± 0 (64.0)"));
    let json: Value = crate::common::json(&folder.path().join("compare/compare.json"));
    assert_eq!(json["runs"][0]["caches"][8]["kind"], "tova");
    let page = fs::read_to_string(folder.path().join("compare/compare.html")).unwrap();
    let plots = page.split("Score against the size of the KV cache").nth(1).unwrap();
    assert_eq!(plots.split("</svg>\n</figure>").next().unwrap().matches("<polyline").count(), 5, "four kinds and the full cache");
    assert!(plots.contains("tova: 64 at 32") && plots.contains("full: 90 at 16"), "{plots}");
}

#[test]
fn earlier_comparisons_are_left_out_and_no_run_counts_twice() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| run(folder.path(), name, &[&format!("seed={}", name.len())]));
    let all = [a.clone(), b.clone(), folder.path().join("compare")];
    let first = compared(&all[..2], &CompareOptions::default()).1;
    assert_eq!(compared(&all, &CompareOptions::default()).1, first);
    let said = message(&[a.clone(), b, folder.path().join("./a")]);
    assert!(said.contains("given twice"), "{said}");
    // Nor does a copy pass for another seed.
    let page = page_of(folder.path(), &all[..2], &CompareOptions::default());
    assert!(page.contains("one agent and one seed, and count as several: a, b"), "{page}");
}

#[test]
fn what_cannot_change_a_result_does_not_set_runs_apart() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["evaluation.actors=7", "train.log_every=3", "train.checkpoint_every=9", "strict=true", "log.csv=true", "seed=2"];
    let runs = [run(folder.path(), "a", &[]), run(folder.path(), "b", &more)];
    let content = compared(&runs, &CompareOptions::default()).1;
    assert_eq!((&content["agents"], &content["cells"][0]["seeds"]), (&json!(["aaren"]), &json!([1, 2])));
    assert_eq!(content["differences"], json!({ "seed": [1, 2] }));

    // The same data by two names, as the runs know by a checksum; and others.
    let data = |name: &str, source: &str, checksum: u32| {
        let path = run(folder.path(), name, &["data.scripted=null", &format!("data.source={source}")]);
        write_json_atomically(
            &path.join("data.json"),
            &json!({ "episodes": 3, "steps": 9, "checksum": checksum, "return_mean": 0.5 }),
        )
        .unwrap();
        path
    };
    let [id, path, other] =
        [("id", "a/b-v0", 5), ("path", "/data/a/b-v0", 5), ("other", "c-v0", 6)].map(|(a, b, c)| data(a, b, c));
    let content = compared(&[id.clone(), path], &CompareOptions::default()).1;
    assert_eq!((list(&content["tasks"]).len(), list(&content["agents"]).len()), (1, 1));
    assert!(message(&[id, other]).contains("the data"));
}

#[test]
fn tables_fit_the_terminal_with_a_column_for_each_run() {
    let folder = tempfile::tempdir().unwrap();
    let widths = ["16", "32", "64", "8", "24"];
    let runs = widths.map(|width| {
        let last = width.parse::<f64>().unwrap() / 64.0;
        let name = format!("a-run-of-a-policy-of-width-{width}");
        full_run(folder.path(), &name, &[last, 0.1], 0.7, &[&format!("policy.width={width}"), "policy.heads=2"])
    });
    let text = compare(&runs, &CompareOptions::default()).unwrap().to_string();
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    for words in ["return, asked for 1", "0.25 ± 0 (25.0)", "step 250", "0.7 ± 0 (70.0)", "compare.html", "12 µs", "123456"] {
        assert!(text.contains(words), "{text}\nlacks {words}");
    }
    let options = |sort: &str, columns: &[&str]| CompareOptions {
        sort: Some(sort.into()),
        columns: columns.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    let order = |sort: &str| {
        let content = compared(&runs, &options(sort, &[])).1;
        list(&content["runs"]).iter().map(|run| run["config"]["policy"]["width"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((order("return"), order("policy.width")), (vec![64, 32, 24, 16, 8], vec![8, 16, 24, 32, 64]));
    assert_eq!(order("name"), [16, 24, 32, 64, 8]);
    let page = page_of(folder.path(), &runs, &options("name", &["return", "policy.width"]));
    let header: Vec<&str> = page.lines().find(|line| line.starts_with("| run")).unwrap().split('|').map(str::trim).collect();
    assert_eq!(header[1..5], ["run", "return, asked for 1", "return, asked for 0.5", "policy.width"]);
    let refused = compare(&runs, &options("size", &[])).unwrap_err().to_string();
    assert!(refused.starts_with("there is no column \"size\"; there are name, seed, mixer, "), "{refused}");
}

#[test]
fn names_command_no_terminal_and_are_no_markup() {
    let folder = tempfile::tempdir().unwrap();
    let evil = "<img src=x onerror=1>\u{1b}[2J`|";
    let source = format!("data.source={evil}");
    let runs = [run(folder.path(), evil, &["data.scripted=null", &source]), run(folder.path(), "b", &[])];
    let comparison = compare(&runs, &CompareOptions { force: true, ..Default::default() }).unwrap();
    aaren_agents::run::report::print(&comparison).unwrap();
    let said = stdout(&mut aaren(folder.path(), &["compare", evil, "b", "--force"], &[]));
    let read = |name: &str| fs::read_to_string(folder.path().join("compare").join(name)).unwrap();
    for text in [said, read("compare.md"), read("compare.html"), read("compare.json")] {
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert!(text.contains("u001b[2J"), "{text}");
    }
    for text in [read("compare.md"), read("compare.html")] {
        assert!(!text.contains("<img"), "{text}");
        assert!(text.contains("&lt;img"), "{text}");
    }
}
