//! Matrices inside of tensors, and their products.

use super::{real::Real, view::View};

/// Read access to a matrix in a slice, which begins at its first element and holds it whole.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T: Copy> Matrix<'a, T> {
    /// Row-major over a slice, `row_stride` elements from row to row.
    pub fn new(data: &'a [T], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(rows == 0 || data.len() >= (rows - 1) * row_stride + columns, "a slice holds its matrix");
        Self { data, rows, columns, row_stride, column_stride: 1 }
    }

    /// Some rows of a two-axis view.
    pub fn of_rows(view: &View<'a, T, 2>, start: usize, rows: usize) -> Self {
        assert!(start + rows <= view.shape[0], "rows of a matrix");
        Self::new(view.from([start, 0]), rows, view.shape[1], view.strides[0])
    }

    /// `time x head_dim` of a view at one batch row and head, from token `start` on.
    pub fn of_view(view: &View<'a, T, 4>, b: usize, h: usize, start: usize, rows: usize) -> Self {
        assert!(start + rows <= view.shape[2], "tokens of a head");
        Self::new(view.from([b, h, start, 0]), rows, view.shape[3], view.strides[2])
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// A row of a matrix that is not transposed.
    #[inline(always)]
    pub fn row(&self, index: usize) -> &'a [T] {
        debug_assert!(self.column_stride == 1, "a row of a transposed matrix is not contiguous");
        &self.data[index * self.row_stride..][..self.columns]
    }

    /// Some of its rows.
    pub fn row_range(self, start: usize, rows: usize) -> Self {
        assert!(start + rows <= self.rows, "rows of a matrix");
        Self { data: &self.data[(start * self.row_stride).min(self.data.len())..], rows, ..self }
    }

    /// The same elements with the axes swapped.
    pub fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, row_stride: self.column_stride, column_stride: self.row_stride, ..self }
    }
}

/// `destination = scale * lhs rhs`, added to what is there if `accumulate`. Row-major destination, one thread.
///
/// # Panics
/// If the inner sizes differ or the destination is too short.
pub(crate) fn product<R: Real>(
    destination: &mut [R],
    row_stride: usize,
    lhs: Matrix<R>,
    rhs: Matrix<R>,
    scale: R,
    accumulate: bool,
) {
    let (rows, columns) = (lhs.rows, rhs.columns);
    assert_eq!(lhs.columns, rhs.rows, "inner sizes of a matrix product");
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(destination.len() >= (rows - 1) * row_stride + columns, "destination of a matrix product");
    // SAFETY: the destination was checked just above and is borrowed exclusively; each operand's slice holds it whole, which its
    // constructors check, and is borrowed until this call returns.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            lhs.columns,
            destination.as_mut_ptr(),
            1,
            row_stride as isize,
            accumulate,
            lhs.data.as_ptr(),
            lhs.column_stride as isize,
            lhs.row_stride as isize,
            rhs.data.as_ptr(),
            rhs.column_stride as isize,
            rhs.row_stride as isize,
            R::one(),
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
