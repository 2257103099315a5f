//! Writing Minari datasets.
