//! The bytes that a mixer's entry in the list says its state holds, worked out: law 5 holds mixers to what `aaren mixers` prints.

use super::config;
use std::collections::BTreeMap;

/// What the documentation of a mixer says its state holds after `tokens` tokens in one batch row; a growing state is fed three at a
/// time.
pub fn documented_bytes(variant: &str, tokens: usize) -> usize {
    let config = config(variant);
    let name = config.mixer.as_str();
    if name == "transformer" {
        // The bytes of a token, for as many as there is room for, and where each row's episode begins.
        let room = if tokens <= 3 { tokens } else { tokens.next_multiple_of(64) };
        return 8 * config.width * room + 8;
    }
    let (_, description) =
        aaren_policy::mixer::list().into_iter().find(|(listed, _)| *listed == name).expect("a mixer of the list");
    let mut known: BTreeMap<String, usize> = [
        ("width", config.width),
        ("heads", config.heads),
        ("head_dim", config.width / config.heads),
        ("t", tokens),
        // 7 ln 7, rounded down, for each of which this kernel has two.
        ("features", if variant == "performer/hyperbolic" { 26 } else { 13 }),
    ]
    .map(|(name, number)| (name.to_owned(), number))
    .into();
    let options = serde_json::to_value(&config.options).expect("options are JSON");
    for (option, value) in options[name].as_object().into_iter().flatten() {
        let number = value.as_u64().or(value.as_bool().map(u64::from));
        known.extend(number.map(|number| (option.clone(), number as usize)));
    }
    evaluate(description, &known)
}

/// What stands between the last colon and `bytes a layer`, or 0 where `no state` is said.
fn evaluate(description: &str, known: &BTreeMap<String, usize>) -> usize {
    if description.ends_with("no state") {
        return 0;
    }
    let formula = description.strip_suffix(" bytes a layer").and_then(|text| text.rsplit_once(": "));
    let (_, formula) =
        formula.unwrap_or_else(|| panic!("\"{description}\" should end in \": ... bytes a layer\" or \"no state\""));
    let spaced = ["(", ")", "+", "-", ","].iter().fold(formula.to_owned(), |text, sign| text.replace(sign, &format!(" {sign} ")));
    let mut formula = Formula { words: spaced.split_whitespace().map(str::to_owned).rev().collect(), known };
    let bytes = formula.sum();
    assert!(formula.words.is_empty(), "\"{description}\": what is {:?}?", formula.words);
    bytes
}

/// Sums and differences of products; factors stand side by side.
struct Formula<'a> {
    /// The next one last.
    words: Vec<String>,
    known: &'a BTreeMap<String, usize>,
}

impl Formula<'_> {
    fn sum(&mut self) -> usize {
        let mut sum = self.product();
        while let Some(sign) = self.words.pop_if(|word| word == "+" || word == "-") {
            let next = self.product();
            sum = if sign == "+" { sum + next } else { sum - next };
        }
        sum
    }

    fn product(&mut self) -> usize {
        let mut product = self.factor();
        while self.words.last().is_some_and(|word| !["+", "-", ",", ")"].contains(&word.as_str())) {
            match self.words.pop_if(|word| word == "/") {
                Some(_) => product /= self.factor(),
                None => product *= self.factor(),
            }
        }
        product
    }

    fn factor(&mut self) -> usize {
        let word = self.words.pop().expect("a formula goes on after a sign");
        match word.as_str() {
            "(" => {
                let sum = self.sum();
                self.expect(")");
                sum
            }
            "min" => {
                self.expect("(");
                let first = self.sum();
                self.expect(",");
                let second = self.sum();
                self.expect(")");
                first.min(second)
            }
            word => word.parse().ok().or_else(|| self.known.get(word).copied()).unwrap_or_else(|| panic!("what is \"{word}\"?")),
        }
    }

    fn expect(&mut self, sign: &str) {
        assert_eq!(self.words.pop().as_deref(), Some(sign));
    }
}
