//! Tables of numbers over time: what is read of them, what is said of wrong ones, and what forecasts without learning reach.

use std::io::Write;
use std::path::{Path, PathBuf};

use aaren_data::sequences::{Naive, Table, TableOptions, TableSplit, origins};
use flate2::{Compression, write::GzEncoder};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Where published tables may be.
fn published(name: &str) -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [here.join("../../shared/data/sequences"), here.join("../datasets/sequences")];
    let own = std::env::var_os("AAREN_SEQUENCES").map(PathBuf::from);
    let found = own.into_iter().chain(folders).map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        println!("skipped: {name} is not there; AAREN_SEQUENCES names a folder");
    }
    found
}

/// Numbers of Informer's, TSLib's and LTSF-Linear's split and scale, looking back on 96 rows.
const HORIZONS: [usize; 4] = [96, 192, 336, 720];

fn errors_of(path: &Path, split: TableSplit, naive: Naive) -> Vec<(f64, f64, usize)> {
    let table = Table::read(path, TableOptions::default()).unwrap();
    let [train, _, test] = split.ranges(&table).unwrap();
    let (means, deviations) = table.moments(train);
    let channels = means.len();
    let scaled = |(at, value): (usize, &f64)| (value - means[at % channels]) / deviations[at % channels];
    let values: Vec<f64> = table.values.iter().enumerate().map(scaled).collect();
    let of = |horizon| {
        let origins = origins(&test, 96, horizon);
        let errors = naive.errors(&values, channels, origins.clone(), horizon, |_| true);
        (errors.mse(), errors.mae(), origins.len())
    };
    HORIZONS.map(of).to_vec()
}

fn assert_near(found: f64, expected: f64, about: impl std::fmt::Debug) {
    assert!((found - expected).abs() <= 0.000_501, "{about:?}: {found}, not {expected}");
}

#[test]
fn forecasts_without_learning_reach_the_published_errors() {
    let months = TableSplit::Months([12, 4, 4]);
    let fractions = TableSplit::Fractions([0.7, 0.1, 0.2]);
    #[rustfmt::skip]
    let last = [
        ("ett/ETTh1.csv", months, [2785, 2689, 2545, 2161], [(1.294, 0.713), (1.325, 0.733), (1.330, 0.746), (1.335, 0.755)]),
        ("ett/ETTh2.csv", months, [2785, 2689, 2545, 2161], [(0.432, 0.422), (0.534, 0.473), (0.597, 0.511), (0.594, 0.519)]),
        ("exchange/exchange_rate.txt.gz", fractions, [1422, 1326, 1182, 798], [(0.081, 0.196), (0.167, 0.289), (0.306, 0.398), (0.810, 0.676)]),
    ];
    for (name, split, windows, expected) in last {
        let Some(path) = published(name) else { continue };
        for (index, (mse, mae, count)) in errors_of(&path, split, Naive::Last).into_iter().enumerate() {
            let about = (name, HORIZONS[index]);
            assert_eq!(count, windows[index], "{about:?}");
            assert_near(mse, expected[index].0, about);
            assert_near(mae, expected[index].1, about);
        }
    }
    for (name, expected) in [("ett/ETTh1.csv", [0.512, 0.581, 0.650, 0.655]), ("ett/ETTh2.csv", [0.391, 0.482, 0.532, 0.525])] {
        let Some(path) = published(name) else { continue };
        for (index, (mse, ..)) in errors_of(&path, months, Naive::Seasonal(24)).into_iter().enumerate() {
            assert_near(mse, expected[index], (name, HORIZONS[index], "seasonal"));
        }
    }
}

/// What pandas reads of the same files: rows, channels, and the sum of all sizes.
#[test]
fn published_tables_have_the_numbers_that_pandas_reads() {
    for (name, rows, columns, sum) in [
        ("ett/ETTh1.csv", 17420, 7, 664_043.692_907),
        ("ett/ETTh2.csv", 17420, 7, 2_321_628.997_962),
        ("exchange/exchange_rate.txt.gz", 7588, 8, 42_168.802_545),
    ] {
        let Some(path) = published(name) else { continue };
        let table = Table::read(&path, TableOptions::default()).unwrap();
        assert_eq!((table.rows(), table.columns.len()), (rows, columns), "{name}");
        let total: f64 = table.values.iter().map(|value| value.abs()).sum();
        assert!((total - sum).abs() < 1e-5, "{name}: {total}");
        assert_eq!(table.irregularity(), None, "{name}");
        assert_eq!(table.step_seconds(), name.starts_with("ett").then_some(3600.0), "{name}");
    }
}

fn read_bytes(name: &str, bytes: &[u8], options: TableOptions<'_>) -> Result<Table, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    Table::read(&path, options).map_err(|error| {
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        text.replace(&path.display().to_string(), "FILE")
    })
}

fn read(text: &str) -> Result<Table, String> {
    read_bytes("x.csv", text.as_bytes(), TableOptions::default())
}

const MAY_MISS: TableOptions<'_> = TableOptions { time: None, columns: &[], may_miss: true };

#[test]
fn a_row_is_a_step_and_the_header_names_the_channels() {
    let text = "\u{feff}date,0,\"OT, indoor\"\r\n2016-07-01 00:00:00,1.5,-2e1\r\n\r\n2016-07-01 01:00:00,\" 3 \",4\r\n";
    let table = read(text).unwrap();
    assert_eq!(table.columns, ["0", "OT, indoor"]);
    assert_eq!((table.values.as_slice(), table.lines.as_slice()), (&[1.5, -20.0, 3.0, 4.0][..], &[2, 4][..]));
    assert_eq!(table.step_seconds(), Some(3600.0));
    // The same in other words.
    for (name, text) in [
        ("x.csv", "2016-07-01 00:00:00;1.5;-2e1\n2016-07-01 01:00:00;3;4"),
        ("x.tsv", "time\ta\tb\n2016-07-01\t1.5\t-20\n2016-07-02\t3\t4\n"),
        ("X.TXT", "1.5 -20\n  3   4\n"),
        ("x.csv", ",a,b\n2016-07-01,1.5,-20\n2016-07-02,3,4"),
    ] {
        let time = text.starts_with(',').then_some("column 1");
        let found = read_bytes(name, text.as_bytes(), TableOptions { time, ..Default::default() }).unwrap();
        assert_eq!((found.values, found.times.is_some()), (table.values.clone(), !text.starts_with("1.5")), "{text}");
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    assert_eq!(read_bytes("x.csv.gz", &packed, TableOptions::default()).unwrap().values, table.values);
    let broken = read_bytes("x.csv.gz", &packed[..packed.len() - 9], TableOptions::default()).unwrap_err();
    assert!(broken.starts_with("FILE: cannot unpack it"), "{broken}");
    // Chosen channels, in their order.
    let names = ["OT, indoor".to_string(), "0".into()];
    let chosen = read_bytes("x.csv", text.as_bytes(), TableOptions { columns: &names, ..Default::default() }).unwrap();
    assert_eq!((chosen.columns.as_slice(), chosen.values.as_slice()), (&names[..], &[-20.0, 1.5, 4.0, 3.0][..]));
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_column() {
    for (text, words) in [
        ("", &["the file has no row"][..]),
        ("\n \n", &["the file has no row"]),
        ("a,b\n", &["without a row"]),
        ("a,b\n1,2\n3\n", &["line 3, column 2", "1 fields", "expected 2"]),
        ("a,b\n1,2\n3,4,5\n", &["line 3, column 5", "3 fields"]),
        ("a,b\n1,2\n3,x4\n", &["line 3, column 3", "\"x4\" in \"b\"", "expected a number"]),
        ("a,b\n1,inf\n", &["line 2, column 3", "\"inf\""]),
        ("a,b\n1,\n", &["line 2, column 3", "\"b\" is missing"]),
        ("a,b\n1,2\nNaN,2\n", &["line 3, column 1", "\"a\" is missing"]),
        ("a,b,a\n1,2,3\n", &["line 1, column 5", "\"a\" is there twice"]),
        ("1,x\n2,3\n", &["line 1, column 3", "\"x\" in \"column 2\""]),
        ("date,a\n2016-07-01,1\n2016-07-01,2\n", &["line 3, column 1", "not later"]),
        ("date,a\n2016-07-01 00:00:00+02:00,1\n", &["line 2, column 1", "a time zone"]),
        ("date,a\n7/1/2016 0:00,1\n", &["line 2, column 1", "\"7/1/2016 0:00\"", "Excel"]),
        ("7/1/2016 0:00,1\n", &["line 1, column 1", "Excel"]),
        ("date,a\n42552.5,1\n", &["line 2, column 1", "no date"]),
        ("when,a\n2016-07-01,1\n", &["line 2, column 1", "name the column that has the times"]),
        ("date\n2016-07-01\n", &["line 1, column 1", "no column but the times"]),
        ("a,b\n1,\"2\n", &["line 2, column 3", "not closed"]),
        ("a,b\n1,\"2\"3\n", &["line 2, column 6", "after a quote"]),
    ] {
        let message = read(text).unwrap_err();
        words.iter().for_each(|word| assert!(message.contains(word), "{text:?}: {message:?} lacks {word:?}"));
        assert!(!message.contains('\n'), "{message}");
    }
    let message = read_bytes("x.csv", b"a,b\n1,2\n\xc3\xa9,\xff\n", TableOptions::default()).unwrap_err();
    assert!(message.contains("line 3, column 3") && message.contains("0xff"), "{message}");
    let no = TableOptions { time: Some("when"), ..Default::default() };
    assert_eq!(read_bytes("x.csv", b"date,a\n1,2\n", no).unwrap_err(), "FILE: there is no column \"when\"; there are date, a");
    assert!(read_bytes("x.parquet", b"", no).unwrap_err().contains(".csv, .tsv or .txt"));
    let both = ["date".to_string()];
    let both = TableOptions { columns: &both, ..Default::default() };
    assert!(read_bytes("x.csv", b"date,a\n2016-07-01,2\n", both).unwrap_err().contains("has the times"));
}

#[test]
fn missing_numbers_are_filled_as_asked() {
    let text = "a,b\n?,1\n2,\nNA,nan\n5,4\nnull,N/A\n";
    let table = read_bytes("x.csv", text.as_bytes(), MAY_MISS).unwrap();
    assert_eq!(table.values.iter().filter(|value| value.is_nan()).count(), 6);
    let (means, deviations) = table.moments(0..5);
    assert_eq!((means, deviations), (vec![3.5, 2.5], vec![1.5, 1.5]));
    let mut linear = table.clone();
    linear.fill_linear().unwrap();
    assert_eq!(linear.values, [2.0, 1.0, 2.0, 2.0, 3.5, 3.0, 5.0, 4.0, 5.0, 4.0]);
    let mut last = table;
    last.fill_last().unwrap();
    assert_eq!(last.values, [2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 5.0, 4.0, 5.0, 4.0]);
    let mut empty = read_bytes("x.csv", b"a,b\n1,\n2,\n", MAY_MISS).unwrap();
    assert!(empty.fill_last().unwrap_err().to_string().contains("\"b\" has no number"));
}

#[test]
fn splits_are_months_fractions_or_rows() {
    let rows: Vec<String> = (0..120).map(|day| format!("2016-{:02}-{:02},{day}", day / 28 + 1, day % 28 + 1)).collect();
    let days = read(&format!("date,a\n{}", rows[..28].join("\n"))).unwrap();
    let gaps = read(&format!("date,a\n{}", rows.join("\n"))).unwrap();
    assert_eq!(days.step_seconds(), Some(86400.0));
    assert_eq!(gaps.step_seconds(), None);
    assert!(gaps.irregularity().unwrap().contains("line 30: 345600 s after the row before"), "{:?}", gaps.irregularity());
    let months = read("date,a\n2016-01-31,1\n2016-03-31,2\n2016-05-31,3\n").unwrap();
    assert_eq!((months.step_seconds(), months.irregularity()), (None, None));
    assert_eq!(TableSplit::Rows([10, 5, 3]).ranges(&days).unwrap(), [0..10, 10..15, 15..18]);
    assert_eq!(TableSplit::Fractions([0.7, 0.1, 0.2]).ranges(&days).unwrap(), [0..19, 19..23, 23..28]);
    assert_eq!(TableSplit::Fractions([0.5, 0.25, 0.0]).ranges(&days).unwrap(), [0..14, 14..21, 21..21]);
    for (split, table, word) in [
        (TableSplit::Rows([20, 5, 4]), &days, "there are 28"),
        (TableSplit::Rows([usize::MAX, 5, 4]), &days, "there are 28"),
        (TableSplit::Months([1, 1, 1]), &days, "30, 30 and 30 rows"),
        (TableSplit::Months([1, 1, 1]), &gaps, "not equally far apart"),
        (TableSplit::Months([1, 1, 1]), &months, "not equally far apart"),
    ] {
        let message = split.ranges(table).unwrap_err().to_string();
        assert!(message.contains(word), "{message}");
    }
    // A window of the validation split looks back into the training split; the first one of the table cannot.
    assert_eq!((origins(&(0..10), 4, 3), origins(&(10..15), 4, 3), origins(&(15..17), 4, 3)), (4..8, 10..13, 15..15));
    assert_eq!(origins(&(0..3), 4, 3), 4..4);
}

#[test]
fn a_season_comes_again_and_again() {
    let values = [1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let said: Vec<f64> = (0..5).map(|step| Naive::Seasonal(3).forecast(&values, 1, 3, step, 0)).collect();
    assert_eq!(said, [1.0, 2.0, 3.0, 1.0, 2.0]);
    let known = Naive::Last.errors(&values, 1, 3..5, 2, |at| at != 4);
    // From row 3 on: 3 - 0 at row 3; from row 4 on: 0 - 0 at row 5.
    assert_eq!((known.squares, known.absolutes, known.count), (9.0, 3.0, 2));
    assert!(Naive::Mean.errors(&values, 1, 3..3, 2, |_| true).mse().is_nan());
}

/// Any damage is an error or still a table; nothing panics.
#[test]
fn damaged_tables_are_refused_or_read() {
    let whole = b"date,a,b\n2016-07-01 00:00:00,1.5,2\n2016-07-01 01:00:00,?,-3e1\n2016-07-01 02:00:00,\"4\",5\n".to_vec();
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&whole).unwrap();
    let packed = packed.finish().unwrap();
    let mut generator = Pcg64Mcg::seed_from_u64(1);
    let pieces: [&[u8]; 12] = [b",", b"\n", b"\"", b"-", b" ", b"?", b"\xff", b"\0", b"1e999", b"\r", b":", b"99"];
    let (mut refused, mut read_all) = (0, 0);
    let bare = b"1.5 2 ?\n-3e1 4 5\n".to_vec();
    for (name, whole, count) in [("x.csv", &whole, 700), ("x.csv.gz", &packed, 300), ("x.txt", &bare, 400)] {
        for _ in 0..count {
            let mut bytes = whole.clone();
            for _ in 0..generator.random_range(1..3) {
                let at = generator.random_range(0..=bytes.len());
                let end = (at + generator.random_range(0..3)).min(bytes.len());
                bytes.splice(at..end, pieces[generator.random_range(0..pieces.len())].iter().copied());
            }
            match read_bytes(name, &bytes, MAY_MISS) {
                Err(error) => {
                    refused += 1;
                    assert!(!error.contains('\n'), "{error}");
                }
                Ok(mut table) => {
                    read_all += 1;
                    assert_eq!(table.values.len(), table.rows() * table.columns.len());
                    assert!(table.times.as_ref().is_none_or(|times| times.windows(2).all(|pair| pair[0] < pair[1])));
                    let _ = (table.fill_linear(), table.irregularity(), table.moments(0..table.rows()));
                }
            }
        }
    }
    assert!(refused > 400 && read_all > 50, "{refused} {read_all}");
}
