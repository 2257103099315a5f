//! Labelled sequences: what aeon reads of the same files, and what is said of files that are wrong.

use std::path::{Path, PathBuf};

use aaren_data::sequences::{Labelled, class_numbers, classes, read};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// A file, its cases, channels, steps of all cases, classes that cases have, and the sum of all values' sizes.
#[rustfmt::skip]
const FILES: &[(&str, usize, usize, usize, usize, f64)] = &[
    ("JapaneseVowels_TRAIN.ts", 270, 12, 4274, 9, 15497.426957),
    ("JapaneseVowels_TEST.ts", 370, 12, 5687, 9, 19892.291674),
    ("BasicMotions_TRAIN.ts", 40, 6, 4000, 4, 61841.765629),
    ("BasicMotions_TEST.ts", 40, 6, 4000, 4, 58233.253597),
    ("ItalyPowerDemand_TRAIN.ts", 67, 1, 1608, 2, 1348.515001),
    ("ItalyPowerDemand_TEST.ts", 1029, 1, 24696, 2, 20790.664272),
    ("GunPoint_TRAIN.ts", 50, 1, 7500, 2, 6842.795473),
    ("GunPoint_TEST.ts", 150, 1, 22500, 2, 20280.336212),
    ("ArrowHead_TRAIN.ts", 36, 1, 9036, 3, 7817.540437),
    ("ArrowHead_TEST.ts", 175, 1, 43925, 3, 38418.5128),
    ("OSULeaf_TRAIN.ts", 200, 1, 85400, 6, 69110.234118),
    ("OSULeaf_TEST.ts", 242, 1, 103334, 6, 83704.028469),
    ("ACSF1_TRAIN.ts", 100, 1, 146000, 10, 123252.973618),
    ("ACSF1_TEST.ts", 100, 1, 146000, 10, 122436.02552),
    ("PickupGestureWiimoteZ_TRAIN.ts", 50, 1, 7294, 10, 6405.657),
    ("PickupGestureWiimoteZ_TEST.ts", 50, 1, 7277, 10, 6305.886),
    ("GunPoint_TRAIN.tsv", 50, 1, 7500, 2, 6842.795473),
    ("ArrowHead_TRAIN.tsv", 36, 1, 9036, 3, 7817.540437),
    ("UnitTest_TRAIN.ts", 20, 1, 480, 2, 305436.0),
    ("Handwriting_TRAIN.ts", 150, 3, 22800, 26, 38147.46106),
    ("Handwriting_TEST.ts", 850, 3, 129200, 26, 219712.92906),
    ("UWaveGestureLibrary_TRAIN.ts", 120, 3, 37800, 8, 94895.523603),
    ("UWaveGestureLibrary_TEST.ts", 320, 3, 100800, 8, 254237.709844),
];

/// Where `scripts/sequences.sh` puts files, and where others may be.
fn folders() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../datasets/sequences");
    std::env::var_os("AAREN_SEQUENCES").map(PathBuf::from).into_iter().chain([own]).collect()
}

#[test]
fn files_of_the_archives_have_the_numbers_that_aeon_reads() {
    for &(name, cases, channels, steps, own_classes, sum) in FILES {
        let Some(path) = folders().into_iter().map(|folder| folder.join(name)).find(|path| path.is_file()) else {
            println!("skipped: {name} is not there; scripts/sequences.sh gets some of the files, AAREN_SEQUENCES names a folder");
            continue;
        };
        let found = read(&path).unwrap();
        let all: usize = found.cases.iter().map(|case| case.len(found.channels)).sum();
        assert_eq!((found.cases.len(), found.channels, all), (cases, channels, steps), "{name}");
        let total: f64 = found.cases.iter().flat_map(|case| &case.values).map(|value| value.abs()).sum();
        assert!((total - sum).abs() < 1e-5, "{name}: {total}");
        let classes = classes(&found);
        let mut numbers = class_numbers(&found, &classes).unwrap();
        numbers.sort();
        numbers.dedup();
        assert_eq!(numbers.len(), own_classes, "{name}: {classes:?}");
    }
}

fn read_text(name: &str, text: &[u8]) -> Result<Labelled, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    read(&path).map_err(|error| error.to_string().replace(&format!("{}, ", path.display()), ""))
}

const HEADER: &str = "# from elsewhere\n@problemName Two\n@timeStamps false\n@dimensions 2\n@classLabel true Up down\n@data\n";

#[test]
fn a_case_is_a_step_after_the_other_and_missing_numbers_are_no_numbers() {
    let text =
        [b"\xef\xbb\xbf# caf\xe9\r\n".to_vec(), HEADER.as_bytes().to_vec(), b"1,?,-3e1 : 4, NaN ,6:Up\r\n\n7:8:down".to_vec()];
    let found = read_text("two.ts", &text.concat()).unwrap();
    assert_eq!((found.channels, found.classes.as_deref()), (2, Some(&["Up".to_string(), "down".into()][..])));
    let [first, second] = &found.cases[..] else { panic!("{found:?}") };
    assert_eq!((first.label.as_str(), first.line, second.line), ("Up", 8, 10));
    let shown: Vec<String> = first.values.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["1", "4", "NaN", "NaN", "-30", "6"]);
    assert_eq!(second.values, [7.0, 8.0]);
    let found = read_text("one.tsv", b"2\t1.5\t?\t3\tNaN\tNaN\n1.0000e+00\t4\n-1\t0\n10\t1\n").unwrap();
    assert_eq!(found.cases[0].values.len(), 3, "what fills the end is no value");
    assert_eq!(classes(&found), ["-1", "1", "2", "10"]);
    assert_eq!(class_numbers(&found, &classes(&found)).unwrap(), [2, 1, 0, 3]);
    assert_eq!(read_text("one.txt", b"1,2,3\n").unwrap().cases[0].values, [2.0, 3.0]);
    assert_eq!(read_text("one.txt", b"  1   2  3 \n").unwrap().cases[0].values, [2.0, 3.0]);
}

#[test]
fn a_class_that_only_the_test_has_is_named() {
    let train = read_text("train.tsv", b"1\t2\n2\t3\n").unwrap();
    let test = read_text("test.tsv", b"1\t2\n3\t3\n").unwrap();
    let message = class_numbers(&test, &classes(&train)).unwrap_err().to_string();
    assert!(message.contains("test.tsv, line 2: the class \"3\"") && message.contains("(1, 2)"), "{message}");
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_column() {
    for (header, case, words) in [
        (HEADER, "1,2:3,x:Up", &["line 7, column 7", "\"x\"", "expected a number"][..]),
        (HEADER, "1,2:3,:Up", &["line 7, column 7", "\"\""]),
        (HEADER, "1,inf:3,4:Up", &["line 7, column 3", "\"inf\""]),
        (HEADER, "1,2:3,4,5:Up", &["line 7, column 5", "3 steps", "has 2"]),
        (HEADER, "1,2:3,4:up", &["line 7, column 9", "\"up\"", "Up, down"]),
        (HEADER, "1,2:3,4:", &["line 7, column 9", "class"]),
        (HEADER, "1,2:Up", &["line 7, column 5", "1 channels", "expected 2"]),
        (HEADER, "1:2:3:Up", &["line 7, column 5", "3 channels", "expected 2"]),
        (HEADER, "1,2", &["line 7, column 1", "no colon"]),
        (HEADER, "(2001-01-01,3):Up", &["line 7, column 1", "times of their own"]),
        (HEADER, "", &["without a case"]),
        ("@timeStamps true\n@data\n", "1:1", &["line 1, column 13", "@timeStamps true"]),
        ("@problemName x\n@targetlabel true\n@data\n", "1:1", &["line 2, column 14", "regression"]),
        ("@classLabel false\n@data\n", "1:1", &["line 1, column 13", "@classLabel true"]),
        ("@classLabel true 1 2 1\n@data\n", "1:1", &["line 1, column 22", "twice"]),
        ("@timeStamps false\n@data\n", "1:1", &["line 2, column 1", "@classLabel"]),
        ("@classLabel true 1\n", "1:1", &["line 2, column 1", "header"]),
        ("@classLabel true 1\n", "", &["without @data"]),
        ("@dimensions many\n@classLabel true 1\n@data\n", "1:1", &["line 1, column 13", "how many"]),
        ("@univariate true\n@classLabel true 1\n@data\n", "1:2:1", &["line 4, column 3", "2 channels", "expected 1"]),
        ("@classLabel true 1\n@data\n1:2:1\n", "1:1", &["line 4", "1 channels", "expected 2"]),
        (
            "@equalLength true\n@seriesLength 3\n@classLabel true 1\n@data\n",
            "1,2:1",
            &["line 5", "2 steps", "@seriesLength says 3"],
        ),
    ] {
        let message = read_text("bad.ts", format!("{header}{case}").as_bytes()).unwrap_err();
        words.iter().for_each(|word| assert!(message.contains(word), "{header}{case}: {message:?} lacks {word:?}"));
    }
    let bytes = [HEADER.as_bytes(), "é1,2:".as_bytes(), b"\xe9:Up"].concat();
    let message = read_text("bad.ts", &bytes).unwrap_err();
    assert!(message.contains("line 7, column 6") && message.contains("0xe9"), "{message}");
    for (text, words) in [
        ("", &["no case"][..]),
        ("1\t2\nx\t3", &["line 2, column 1", "\"x\"", "a class, which is a number"]),
        ("1\t2\n1\t2\ty", &["line 2, column 5", "\"y\""]),
        ("1\tNaN", &["line 1", "without values"]),
    ] {
        let message = read_text("bad.tsv", text.as_bytes()).unwrap_err();
        words.iter().for_each(|word| assert!(message.contains(word), "{text}: {message:?} lacks {word:?}"));
    }
    let message = read(Path::new("data.csv")).unwrap_err().to_string();
    assert!(message.contains("data.csv") && message.contains(".ts, .tsv or .txt"), "{message}");
    assert!(read(Path::new("/dev/zero.ts")).is_err());
}

/// Any damage is an error or still a file of sequences; nothing panics.
#[test]
fn damaged_files_are_refused_or_read() {
    let whole = [HEADER, "1,2,3:4,5,6:Up\n7,?:8,9:down\n0.5:-1e3:Up\n"].concat().into_bytes();
    let lines = b"1\t2.5\t3\n2\t4\tNaN\n".to_vec();
    let mut generator = Pcg64Mcg::seed_from_u64(1);
    let pieces: [&[u8]; 12] = [b":", b",", b"\n", b"@", b"@data\n", b"?", b"\xff", b"\0", b"1e999", b"\r", b"#", b"\t"];
    let folder = tempfile::tempdir().unwrap();
    let (mut refused, mut read_all) = (0, 0);
    for (name, whole, count) in [("x.ts", &whole, 4000), ("x.tsv", &lines, 1000)] {
        for _ in 0..count {
            let mut bytes = whole.clone();
            for _ in 0..generator.random_range(1..4) {
                let at = generator.random_range(0..=bytes.len());
                let end = (at + generator.random_range(0..6)).min(bytes.len());
                bytes.splice(at..end, pieces[generator.random_range(0..pieces.len())].iter().copied());
            }
            let path = folder.path().join(name);
            std::fs::write(&path, &bytes).unwrap();
            match read(&path) {
                Err(error) => {
                    refused += 1;
                    assert!(!error.to_string().contains('\n'), "{error}");
                }
                Ok(found) => {
                    read_all += 1;
                    assert!(!found.cases.is_empty());
                    for case in &found.cases {
                        assert!(!case.values.is_empty() && case.values.len() % found.channels == 0, "{found:?}");
                    }
                }
            }
        }
    }
    assert!(refused > 1000 && read_all > 300, "{refused} {read_all}");
}
