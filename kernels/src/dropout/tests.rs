//! Dropout: the CPU's mask is the reference's, and its statistics are what they should be.

use super::*;
use crate::primitive::{float, primitive};
use crate::testing::{assert_close, random_tensor};
use burn::backend::{Autodiff, Flex};

type Graph = Autodiff<Flex>;

#[test]
fn cpu_agrees_with_the_reference() {
    let dropout = Dropout { probability: 0.25, seed: 77 };
    let (residual, branch) = (random_tensor::<Flex, 2>([131, 37], 1), random_tensor::<Flex, 2>([131, 37], 2));
    let found = dropout_add(residual.clone(), branch.clone(), dropout);
    let expected = reference::dropout_add::<Flex>(primitive(residual), primitive(branch), dropout);
    assert_eq!(found.into_data(), float::<Flex, 2>(expected).into_data());
}

#[test]
fn gradient_is_the_mask() {
    let dropout = Dropout { probability: 0.25, seed: 77 };
    let residual = random_tensor::<Graph, 2>([70, 37], 1).require_grad();
    let branch = random_tensor::<Graph, 2>([70, 37], 2).require_grad();
    let gradients = (dropout_add(residual.clone(), branch.clone(), dropout) * random_tensor([70, 37], 3)).sum().backward();
    let up = random_tensor::<Flex, 2>([70, 37], 3);
    assert_eq!(residual.grad(&gradients).unwrap().into_data(), up.to_data());
    let expected = reference::masked::<Flex>(primitive(up), dropout);
    let expected = float::<Flex, 2>(expected);
    assert_close(branch.grad(&gradients).unwrap(), expected, 0.0);
}

#[test]
fn drops_the_given_share_without_pattern() {
    let (rows, columns) = (400, 500);
    let mask = reference::mask(rows, columns, Dropout { probability: 0.1, seed: 5 });
    let is_dropped = |row: usize, column: usize| mask[row * columns + column] == 0.0;
    let share = mask.iter().filter(|&&m| m == 0.0).count() as f64 / mask.len() as f64;
    assert!((share - 0.1).abs() < 0.003, "{share}"); // 4.5 standard deviations
    assert!(mask.iter().all(|&m| m == 0.0 || (m - 1.0 / 0.9).abs() < 1e-6));
    // Neighbours along either axis are dropped together with probability 0.01.
    let pairs = |right: usize, down: usize| {
        let all = (0..rows - down).flat_map(|row| (0..columns - right).map(move |column| (row, column)));
        let both = all.filter(|&(row, column)| is_dropped(row, column) && is_dropped(row + down, column + right)).count();
        both as f64 / ((rows - down) * (columns - right)) as f64
    };
    for (right, down) in [(1, 0), (0, 1), (1, 1), (2, 0), (8, 0)] {
        assert!((pairs(right, down) - 0.01).abs() < 0.001, "{right} {down}: {}", pairs(right, down));
    }
    let other = reference::mask(rows, columns, Dropout { probability: 0.1, seed: 6 });
    let both = mask.iter().zip(&other).filter(|&(&a, &b)| a == 0.0 && b == 0.0).count() as f64 / mask.len() as f64;
    assert!((both - 0.01).abs() < 0.001, "{both}");
}
