use super::*;

#[test]
fn the_standard_deviation_is_the_populations() {
    let report = TargetReport::new(Some(5.0), vec![1.0, 3.0, 5.0, 7.0], vec![2, 4, 6, 9], 3, |mean| Some(mean * 10.0));
    assert_eq!((report.return_mean, report.return_std), (4.0, 5.0_f64.sqrt()));
    assert_eq!((report.return_min, report.return_max), (1.0, 7.0));
    assert_eq!((report.length_mean, report.length_min, report.length_max), (5.25, 2, 9));
    assert_eq!((report.terminated, report.truncated), (3, 1));
    assert_eq!(report.normalised_score, Some(40.0));
    let none = TargetReport::new(Some(5.0), vec![], vec![], 0, |_| None);
    assert_eq!((none.return_mean, none.return_std, none.length_mean), (0.0, 0.0, 0.0));
}

#[test]
fn numbers_keep_the_digits_that_count() {
    for (value, text) in [
        (0.0, "0"),
        (1.0, "1"),
        (0.85, "0.85"),
        (0.123456, "0.1235"),
        (-12.3456, "-12.35"),
        (1800.0, "1800"),
        (123456.7, "123457"),
        (1e-7, "1.000e-7"),
        (f64::NAN, "NaN"),
        (100.0, "100"),
    ] {
        assert_eq!(number(value), text);
    }
    assert_eq!((duration(59.0), duration(61.4), duration(7265.0)), ("59 s".into(), "1 min 01 s".into(), "2 h 01 min".into()));
    assert_eq!((bytes(512), bytes(20480)), ("512 B".into(), "20.0 KiB".into()));
}

#[test]
fn results_read_back_as_themselves_and_a_nan_loss_does_not_stop_that() {
    let summary = TrainSummary {
        format: FORMAT,
        steps: 3,
        timesteps: 60,
        wall_seconds: 1.5,
        timesteps_per_second: 40.0,
        final_loss: f64::NAN,
        parameters: 7,
        diverged: 0,
    };
    let back: TrainSummary = serde_json::from_str(&serde_json::to_string(&summary).unwrap()).unwrap();
    assert!(back.final_loss.is_nan());
    assert_eq!(TrainSummary { final_loss: 0.0, ..back }, TrainSummary { final_loss: 0.0, ..summary });
}

#[test]
fn the_table_of_an_evaluation_has_a_row_for_each_target_and_no_colour() {
    let report = EvaluationReport {
        format: FORMAT,
        run: "quickstart".into(),
        checkpoint_step: 500,
        env_id: "TMaze-v0".into(),
        env_options: Map::new(),
        data: "scripted".into(),
        mixer: "aaren".into(),
        execution: "streaming".into(),
        seed: u64::MAX,
        episode_seeds: vec![u64::MAX - 1, 2],
        made_by: Some(MadeBy::this()),
        parameters: 1000,
        targets: vec![
            TargetReport::new(Some(1.0), vec![1.0, 0.0], vec![41, 42], 2, |_| None),
            TargetReport::new(None, vec![1.0], vec![43], 1, |_| Some(33.3)),
        ],
        validation: None,
        sequences: None,
        env_steps: 126,
        wall_seconds: 0.5,
        env_steps_per_second: 252.0,
        latency: Some(LatencyReport {
            steps: 41,
            first_microseconds: 100.0,
            last_microseconds: 101.0,
            median_microseconds: 100.5,
            state_bytes_first: 1056,
            state_bytes_last: 1056,
            points: vec![LatencyPoint { step: 41, microseconds: 100.5, state_bytes: 1056 }],
        }),
    };
    let text = report.to_string();
    for words in ["quickstart", "0.5 ± 0.5", "33.3", "41.5", "1056 B", "252 a second"] {
        assert!(text.contains(words), "{text}\nlacks {words}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");
    // Numbers stay whole where headings have no room.
    let mut narrow = table(&["a heading", "another one", "terminated", "and a last one"]);
    narrow.add_row(["-1234.5 ± 12.5", "1234567", "1", "100.0"]);
    align_right(&mut narrow, 0);
    narrow.set_content_arrangement(ContentArrangement::Dynamic).set_width(50);
    let shown = narrow.to_string();
    assert!(shown.contains("-1234.5 ± 12.5") && shown.contains("1234567"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 50), "{shown}");
    let mut json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["seed"], &json["episode_seeds"][1]), (&"18446744073709551615".into(), &"2".into()));
    assert_eq!(serde_json::from_value::<EvaluationReport>(json.clone()).unwrap(), report);

    // A report of an older version, whose seed is a number and which does not say what made it.
    json["seed"] = 41.into();
    ["episode_seeds", "made_by"].iter().for_each(|key| drop(json.as_object_mut().unwrap().remove(*key)));
    let old: EvaluationReport = serde_json::from_value(json).unwrap();
    assert_eq!((old.seed, &old.episode_seeds[..], old.made_by), (41, &[][..], None));
}

#[test]
fn a_return_that_is_not_a_number_is_read_back_as_such() {
    let report = TargetReport::new(None, vec![1.0, f64::NAN, f64::INFINITY], vec![1, 2, 3], 3, Some);
    let back: TargetReport = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert!(back.returns[0] == 1.0 && back.returns[1].is_nan() && back.return_mean.is_nan() && back.return_std.is_nan());
}

#[test]
fn a_line_has_the_test_split_when_it_is_there_and_says_so() {
    let scores = |accuracy: f64| -> Vec<Score> {
        serde_json::from_value(serde_json::json!([
            {"name": "accuracy", "value": accuracy, "better": "higher"},
            {"name": "accuracy", "condition": "10 % seen", "value": 0.1, "better": "higher"},
            {"name": "loss", "value": 2.0 * accuracy, "better": "lower"}
        ]))
        .unwrap()
    };
    let mut report = SequenceReport { validation: scores(0.25), test: Vec::new(), baselines: Vec::new() };
    assert_eq!(report.line(), "accuracy 0.25, loss 0.5");
    report.test = scores(0.75);
    assert_eq!(report.line(), "test accuracy 0.75, test loss 1.5");
}
