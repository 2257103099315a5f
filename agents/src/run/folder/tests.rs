use anyhow::bail;

use super::*;
use crate::config::Job;

fn job() -> Job {
    Job::load(&[], &["train.keep_checkpoints=2".into()][..].into()).unwrap()
}

/// A new run, in a folder that goes with it.
fn new_run(keep_checkpoints: usize) -> (tempfile::TempDir, RunDir) {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDir::create(&folder.path().join("run"), &job(), keep_checkpoints).unwrap();
    (folder, run)
}

fn fill(text: &'static str) -> impl FnOnce(&Path) -> Result<()> {
    move |folder| Ok(fs::write(folder.join("weights"), text)?)
}

fn steps(run: &RunDir) -> Vec<u64> {
    run.all_checkpoints().unwrap().into_iter().map(|(step, _)| step).collect()
}

#[test]
fn a_new_run_holds_its_config_and_is_not_made_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b");
    let run = RunDir::create(&path, &job(), 2).unwrap();
    assert_eq!(run.job(&Changes::default()).unwrap(), job());
    assert_eq!(run.name(), "b");
    drop(run);
    let message = format!("{:#}", RunDir::create(&path, &job(), 2).unwrap_err());
    assert!(message.contains("not empty") && message.contains("--resume"), "{message}");
    assert!(format!("{:#}", RunDir::open(&folder.path().join("c")).unwrap_err()).contains("no run folder"));
    assert!(format!("{:#}", RunDir::open(&folder.path().join("a")).unwrap_err()).contains("config.json"));
}

#[test]
fn a_run_below_a_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let message = format!("{:#}", RunDir::create(&folder.path().join("file/run"), &job(), 2).unwrap_err());
    assert!(message.contains("cannot make the run folder"), "{message}");
}

#[test]
fn two_jobs_cannot_write_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let first = RunDir::create(&path, &job(), 2).unwrap();
    assert!(format!("{:#}", RunDir::resume(&path).unwrap_err()).contains("another process"));
    RunDir::open(&path).unwrap();
    drop(first);
    RunDir::resume(&path).unwrap();
}

#[test]
fn pruning_keeps_the_newest_and_the_best() {
    let (_folder, run) = new_run(2);
    assert_eq!(run.latest_checkpoint().unwrap(), None);
    assert!(format!("{:#}", run.checkpoint_at(1).unwrap_err()).contains("has no checkpoint"));
    for step in [10, 20, 30] {
        run.checkpoint(step, fill("x")).unwrap();
        if step == 10 {
            run.mark_best(10, -0.1).unwrap();
        }
    }
    assert_eq!(steps(&run), [10, 20, 30]);
    run.checkpoint(123_456_789, fill("x")).unwrap();
    assert_eq!(steps(&run), [10, 30, 123_456_789]);
    run.mark_best(30, -0.2).unwrap();
    assert_eq!(run.best().unwrap(), Some((10, -0.1)), "a worse one is not marked");
    run.mark_best(30, 0.1 + 0.2).unwrap();
    assert_eq!(run.best().unwrap(), Some((30, 0.1 + 0.2)));
    // A damaged mark is said, and made anew by the next evaluation.
    for damaged in ["", "step-30 1", "step-00000030"] {
        fs::write(run.path().join("best"), damaged).unwrap();
        let said = format!("{:#}", run.best().unwrap_err());
        assert!(said.contains("best: found") && said.contains("remove the file"), "{said}");
    }
    run.mark_best(30, 0.1 + 0.2).unwrap();
    assert_eq!(run.best().unwrap(), Some((30, 0.1 + 0.2)));
    run.checkpoint(200_000_000, fill("x")).unwrap();
    assert_eq!(steps(&run), [30, 123_456_789, 200_000_000]);
    assert_eq!(run.latest_checkpoint().unwrap().unwrap().0, 200_000_000);
    assert!(run.checkpoint_at(30).unwrap().ends_with("checkpoints/step-00000030"));
    assert!(format!("{:#}", run.checkpoint_at(20).unwrap_err()).contains("30, 123456789"));
}

#[test]
fn a_checkpoint_that_fails_leaves_the_old_ones() {
    let (_folder, run) = new_run(2);
    run.checkpoint(1, fill("one")).unwrap();
    let failing = |folder: &Path| {
        fs::write(folder.join("weights"), "half")?;
        bail!("out of paper")
    };
    let message = format!("{:#}", run.checkpoint(1, failing).unwrap_err());
    assert!(message.contains("out of paper") && message.contains("step-00000001"), "{message}");
    let (step, path) = run.latest_checkpoint().unwrap().unwrap();
    assert_eq!((step, fs::read_to_string(path.join("weights")).unwrap()), (1, "one".into()));
    run.checkpoint(1, fill("two")).unwrap();
    assert_eq!(fs::read_to_string(path.join("weights")).unwrap(), "two");
}

#[test]
fn leftovers_of_a_killed_write_are_ignored_and_removed_at_resume() {
    let (_folder, run) = new_run(2);
    let path = run.path().to_path_buf();
    run.checkpoint(5, fill("x")).unwrap();
    run.checkpoint(7, fill("x")).unwrap();
    let checkpoints = run.checkpoints();
    drop(run);
    // Killed while filling step 9, while replacing step 7 and after replacing step 5.
    fs::create_dir(checkpoints.join(format!("{UNFINISHED}step-00000009"))).unwrap();
    fs::rename(checkpoints.join("step-00000007"), checkpoints.join(format!("{REPLACED}step-00000007"))).unwrap();
    fs::create_dir(checkpoints.join(format!("{REPLACED}step-00000005"))).unwrap();
    fs::write(path.join(format!("{UNFINISHED}config.json")), "{").unwrap();
    assert_eq!(RunDir::open(&path).unwrap().latest_checkpoint().unwrap().unwrap().0, 5);

    let run = RunDir::resume(&path).unwrap();
    assert_eq!(steps(&run), [5, 7]);
    let names = |folder: &Path| {
        let mut names: Vec<_> = entries(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&checkpoints), ["step-00000005", "step-00000007"]);
    assert_eq!(names(&path), ["checkpoints", "config.json", "lock"]);
}

#[test]
fn a_resumed_run_takes_only_changes_that_leave_the_past_as_it_was() {
    let (_folder, mut run) = new_run(2);
    let longer = run.job(&["train.steps=900".into(), "evaluation.episodes=3".into()][..].into()).unwrap();
    run.update_job(&longer).unwrap();
    assert_eq!(run.job(&Changes::default()).unwrap(), longer);
    let other = run.job(&["policy.width=32".into(), "seed=2".into()][..].into()).unwrap();
    let message = format!("{:#}", run.update_job(&other).unwrap_err());
    assert!(message.contains("seed and policy.width"), "{message}");
    let rounded = run.job(&["train.precision=bf16".into()][..].into()).unwrap();
    let message = format!("{:#}", run.update_job(&rounded).unwrap_err());
    assert!(message.contains("another train.precision;"), "{message}");
    assert_eq!(run.job(&Changes::default()).unwrap(), longer);

    run.checkpoint(700, |_| Ok(())).unwrap();
    let shorter = |steps: u64| run.job(&[format!("train.steps={steps}")][..].into()).unwrap();
    let (too_short, enough) = (shorter(699), shorter(700));
    let message = format!("{:#}", run.update_job(&too_short).unwrap_err());
    assert!(message.contains("has made 700 steps, more than the 699 of train.steps"), "{message}");
    assert_eq!(run.job(&Changes::default()).unwrap(), longer);
    run.update_job(&enough).unwrap();
}

#[test]
fn jobs_that_begin_together_take_different_folders() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("job");
    let names: Vec<String> = std::thread::scope(|scope| {
        let begin = || {
            let run = RunDir::claim_next(&first, 2).unwrap();
            run.begin(&job()).unwrap();
            run.name()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(begin)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(sorted, ["job", "job-2", "job-3", "job-4"]);
}

#[test]
fn a_folder_in_which_a_run_never_began_is_free_and_any_other_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let claimed = RunDir::claim(&path, 2).unwrap();
    claimed.checkpoint(0, fill("x")).unwrap();
    assert!(format!("{:#}", RunDir::claim(&path, 2).unwrap_err()).contains("another process"));
    drop(claimed); // killed before the job was written
    fs::write(path.join(format!("{UNFINISHED}1-config.json")), "{").unwrap();
    let run = RunDir::claim(&path, 2).unwrap();
    assert_eq!(steps(&run), [0_u64; 0]);
    drop(run);
    fs::write(path.join("thesis.txt"), "").unwrap();
    assert!(format!("{:#}", RunDir::claim(&path, 2).unwrap_err()).contains("not empty"));
}

#[test]
fn a_damaged_checkpoint_is_set_aside_for_an_older_one() {
    let (_folder, run) = new_run(1);
    run.checkpoint(5, fill("five")).unwrap();
    run.mark_best(5, 1.0).unwrap();
    run.checkpoint(7, fill("seven")).unwrap();
    run.mark_best(7, 2.0).unwrap();
    let load = |is_whole: &'static dyn Fn(&str) -> bool| {
        move |folder: &Path| {
            let text = fs::read_to_string(folder.join("weights"))?;
            if is_whole(&text) { Ok(text) } else { bail!("{text} is damaged") }
        }
    };
    assert_eq!(format!("{:#}", run.load_newest(load(&|_| false)).unwrap_err()), "cannot resume: seven is damaged");
    assert_eq!(steps(&run), [5, 7], "where none can be read, nothing is moved");
    assert_eq!(run.load_newest(load(&|text| text == "five")).unwrap().unwrap(), "five");
    assert_eq!((steps(&run), run.best().unwrap()), (vec![5], None));
    run.checkpoint(6, fill("six")).unwrap();
    assert_eq!(steps(&run), [6]);
    assert!(run.checkpoints().join("damaged-step-00000007/weights").is_file());
}

#[test]
fn a_return_that_is_not_a_number_is_never_the_best() {
    let (_folder, run) = new_run(2);
    run.mark_best(1, f64::NAN).unwrap();
    assert_eq!(run.best().unwrap(), None);
    run.mark_best(2, -5.0).unwrap();
    run.mark_best(3, f64::NAN).unwrap();
    assert_eq!(run.best().unwrap(), Some((2, -5.0)));
    fs::write(run.path().join(BEST), "step-00000004 NaN\n").unwrap(); // of an older version
    assert_eq!(run.best().unwrap(), None);
}

#[test]
fn a_run_folder_that_vanishes_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let run = RunDir::create(&path, &job(), 2).unwrap();
    fs::rename(&path, folder.path().join("elsewhere")).unwrap();
    assert!(format!("{:#}", run.checkpoint(1, fill("x")).unwrap_err()).contains("is gone"));
    assert!(run.write_json("train.json", &1).is_err() && !path.exists());
}

#[cfg(unix)]
#[test]
fn links_that_a_stranger_planted_lead_nowhere() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let (path, outside) = (folder.path().join("run"), folder.path().join("outside"));
    let run = RunDir::create(&path, &job(), 1).unwrap();
    fs::create_dir_all(outside.join("step-00000001")).unwrap();
    fs::write(outside.join("file"), "mine").unwrap();
    let own = format!("{UNFINISHED}{}-evaluation.json", std::process::id());
    for name in [&own, "evaluation.json"] {
        symlink(outside.join("file"), path.join(name)).unwrap();
    }
    run.write_json("evaluation.json", &1).unwrap();
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(path.join("evaluation.json")).unwrap(), "1\n");
    symlink(&outside, path.join(EVALUATIONS)).unwrap();
    assert!(format!("{:#}", run.write_evaluation("x", &1).unwrap_err()).contains("is a link"));
    drop(run);
    fs::remove_dir(path.join("checkpoints")).unwrap();
    symlink(&outside, path.join("checkpoints")).unwrap();
    assert!(format!("{:#}", RunDir::resume(&path).unwrap_err()).contains("is a link"));
    assert!(outside.join("step-00000001").is_dir() && !outside.join("x.json").exists());
}
