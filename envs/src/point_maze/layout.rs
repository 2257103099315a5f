//! D4RL's mazes as grids of cells.

/// A cell: row (the first coordinate, x), then column (y).
pub(crate) type Cell = [i64; 2];

/// A maze. `#` is a wall, `O` is free, `G` is the goal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Layout {
    rows: &'static [&'static str],
    /// The limit of its registered task in steps.
    pub(crate) max_episode_steps: usize,
}

/// Names of the layouts, the default first.
pub(crate) const NAMES: &[&str] = &["umaze", "medium", "large", "open"];

pub(crate) const UMAZE: Layout = Layout {
    rows: &[
        "#####", //
        "#GOO#", "###O#", "#OOO#", "#####",
    ],
    max_episode_steps: 300,
};
pub(crate) const MEDIUM: Layout = Layout {
    rows: &[
        "########", //
        "#OO##OO#", "#OO#OOO#", "##OOO###", "#OO#OOO#", "#O#OO#O#", "#OOO#OG#", "########",
    ],
    max_episode_steps: 600,
};
pub(crate) const LARGE: Layout = Layout {
    rows: &[
        "############",
        "#OOOO#OOOOO#",
        "#O##O#O#O#O#",
        "#OOOOOO#OOO#",
        "#O####O###O#",
        "#OO#O#OOOOO#",
        "##O#O#O#O###",
        "#OO#OOO#OGO#",
        "############",
    ],
    max_episode_steps: 800,
};
pub(crate) const OPEN: Layout = Layout {
    rows: &[
        "#######", //
        "#OOOOO#", "#OOGOO#", "#OOOOO#", "#######",
    ],
    max_episode_steps: 150,
};

impl Layout {
    /// The layout of one of [`NAMES`].
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "umaze" => Some(UMAZE),
            "medium" => Some(MEDIUM),
            "large" => Some(LARGE),
            "open" => Some(OPEN),
            _ => None,
        }
    }

    /// Rows and columns.
    pub(crate) fn size(&self) -> [i64; 2] {
        [self.rows.len() as i64, self.rows[0].len() as i64]
    }

    fn at(&self, [row, column]: Cell) -> Option<u8> {
        let row = self.rows.get(usize::try_from(row).ok()?)?;
        row.as_bytes().get(usize::try_from(column).ok()?).copied()
    }

    /// Whether a cell is a wall; so is everything off the grid.
    pub(crate) fn is_wall(&self, cell: Cell) -> bool {
        self.at(cell).is_none_or(|kind| kind == b'#')
    }

    /// All cells, row by row.
    pub(crate) fn cells(&self) -> impl Iterator<Item = Cell> + use<> {
        let [rows, columns] = self.size();
        (0..rows).flat_map(move |row| (0..columns).map(move |column| [row, column]))
    }

    fn of_kind(&self, kind: u8) -> impl Iterator<Item = Cell> + use<'_> {
        self.cells().filter(move |&cell| self.at(cell) == Some(kind))
    }

    /// The cells in which an episode may start: the free ones row by row, then the goal.
    pub(crate) fn starts(&self) -> Vec<Cell> {
        self.of_kind(b'O').chain(self.of_kind(b'G')).collect()
    }

    /// The goal.
    pub(crate) fn goal(&self) -> Cell {
        self.of_kind(b'G').next().expect("every layout above has a goal")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn layouts_are_d4rls_and_walled_in() {
        for (&name, goal, starts) in
            NAMES.iter().zip([[1, 1], [6, 6], [7, 9], [2, 3]]).zip([7, 26, 46, 15]).map(|((n, g), s)| (n, g, s))
        {
            let layout = Layout::named(name).unwrap();
            let [rows, columns] = layout.size();
            assert!(layout.rows.iter().all(|row| row.len() as i64 == columns), "{name} is no rectangle");
            let border =
                layout.cells().filter(|&[row, column]| row == 0 || column == 0 || row == rows - 1 || column == columns - 1);
            assert!(border.into_iter().all(|cell| layout.is_wall(cell)), "{name} is open at its border");
            assert_eq!((layout.goal(), layout.starts().len()), (goal, starts), "{name}");
            assert_eq!(layout.starts().last(), Some(&goal));
            if name == "open" {
                continue; // Not recorded.
            }
            assert_eq!(fixtures::recording(&format!("maze2d/{name}"), "plans")["layout"], serde_json::json!(layout.rows));
        }
    }

    #[test]
    fn off_the_grid_is_wall() {
        assert!([[-1, 2], [2, -1], [5, 2], [2, 5]].iter().all(|&cell| UMAZE.is_wall(cell)));
    }
}
