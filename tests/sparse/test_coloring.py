"""Colorings: valid by their definition, and as few colors as are published for small patterns."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp

from diffface.sparse.coloring import color_hessian, color_jacobian, entries
from diffface.sparse.greedy import ORDERS, distance2, star


def pattern_of(rows):
    found = sp.csr_array(np.array([[c == "1" for c in row] for row in rows]))
    found.sort_indices()
    return found


def random_pattern(rng, m, n, density):
    return sp.csr_array(rng.random((m, n)) < density)


def symmetric(pattern):
    return sp.csr_array((pattern + pattern.T).astype(bool))


def compressed(matrix, coloring):
    """Derivatives along every color: pushforwards (K, m), and pullbacks (K, n)."""
    push = [matrix @ (coloring.columns == k) for k in range(coloring.forward)]
    pull = [(coloring.rows == k) @ matrix for k in range(coloring.reverse)]
    return push, pull


def recovered(matrix, pattern, coloring):
    push, pull = compressed(matrix, coloring)
    found = np.zeros(pattern.shape)
    i, j = entries(pattern)
    for p in range(pattern.nnz):
        source = pull if coloring.by_row[p] else push
        found[i[p], j[p]] = source[coloring.color[p]][coloring.place[p]]
    return found


def is_star_coloring(dense, colors):
    """Adjacent vertices differ, and no path of four vertices has two colors."""
    n = len(colors)
    near = [set(np.flatnonzero(dense[v])) - {v} for v in range(n)]
    if any(colors[v] == colors[w] for v in range(n) for w in near[v]):
        return False
    for a in range(n):
        for b in near[a]:
            for c in near[b] - {a}:
                for d in near[c] - {b}:
                    if colors[a] == colors[c] and colors[b] == colors[d]:
                        return False
    return True


# A. H. Gebremedhin, F. Manne and A. Pothen, SIAM Review 47 (2005), figures 4.1 and 6.1; the second
# is also figure 1 of Gebremedhin et al., INFORMS J. Comput. 21 (2009), which needs 5 by star.
FIGURE_4_1 = ["110000", "111011", "011100", "001101", "010010", "010101"]
FIGURE_6_1 = [
    "1100001000", "1110100000", "0111010000", "0011000001", "0100110100",
    "0010110010", "1000001100", "0000101110", "0000010111", "0001000011",
]  # fmt: skip


@pytest.mark.smoke
@pytest.mark.parametrize(("rows", "published"), [(FIGURE_4_1, 3), (FIGURE_6_1, 5)])
def test_published_patterns_need_no_more_colors_than_published(rows, published):
    pattern = pattern_of(rows)
    coloring = color_hessian(pattern)
    assert coloring.forward <= published
    assert is_star_coloring(pattern.toarray(), coloring.columns)


@pytest.mark.parametrize(("rows", "colors"), [
    (FIGURE_4_1, [1, 2, 1, 3, 1, 1]),
    (FIGURE_6_1, [1, 2, 1, 3, 1, 4, 3, 5, 1, 2]),
])  # fmt: skip
def test_published_colorings_are_star_colorings(rows, colors):
    assert is_star_coloring(pattern_of(rows).toarray(), colors)


@pytest.mark.parametrize(("lower", "upper"), [(0, 0), (1, 1), (2, 0), (0, 3), (2, 3)])
def test_banded_jacobians_need_a_color_for_each_diagonal(lower, upper):
    n = 40
    pattern = sp.csr_array(sp.diags_array([np.ones(n - abs(k)) for k in range(-lower, upper + 1)],
                                    offsets=range(-lower, upper + 1)) != 0)  # fmt: skip
    coloring = color_jacobian(pattern)
    assert (coloring.forward, coloring.reverse) == (lower + upper + 1, 0)


def arrow(n, *, row=True, column=True):
    dense = np.eye(n, dtype=bool)
    dense[0] |= row
    dense[:, 0] |= column
    return sp.csr_array(dense)


@pytest.mark.smoke
def test_dense_rows_and_columns_are_taken_apart():
    assert str(color_jacobian(arrow(30, column=False))) == "forward 1 + reverse 1"
    assert str(color_jacobian(arrow(30, row=False))) == "forward 2"
    both = color_jacobian(arrow(30))
    assert both.forward + both.reverse == 3
    assert color_jacobian(arrow(30, column=False), reverse=False).forward == 30


@pytest.mark.smoke
def test_hessians_of_tridiagonal_and_arrow_shape():
    n = 30
    tridiagonal = sp.csr_array(abs(np.subtract.outer(np.arange(n), np.arange(n))) <= 1)
    assert color_hessian(tridiagonal).forward == 3
    assert color_hessian(arrow(n)).forward == 2
    assert color_hessian(sp.csr_array(np.eye(n, dtype=bool))).forward == 1


def test_a_torus_needs_five_colors_at_least():
    # The 5-point stencil on an N by N torus: each column meets the rows of four neighbours.
    N = 10
    ring = sp.eye_array(N, k=1) + sp.eye_array(N, k=-1) + sp.eye_array(N, k=N - 1)
    ring = ring + sp.eye_array(N, k=1 - N)
    grid = sp.kron(sp.eye_array(N), ring) + sp.kron(ring, sp.eye_array(N)) + sp.eye_array(N * N)
    pattern = sp.csr_array(grid != 0)
    # Twelve columns share a row with each: greedily, thirteen colors always do.
    assert 5 <= color_jacobian(pattern).forward <= 13


def test_nothing_needs_no_color():
    for shape in [(0, 0), (0, 3), (3, 0), (3, 4)]:
        coloring = color_jacobian(sp.csr_array(shape, dtype=bool))
        assert (coloring.forward, coloring.reverse) == (0, 0)
        assert str(coloring) == "forward 0"
    assert color_hessian(sp.csr_array((4, 4), dtype=bool)).forward == 0


@pytest.mark.parametrize("order", ORDERS)
def test_distance_2_by_its_definition(order):
    rng = np.random.default_rng(1)
    for _ in range(50):
        pattern = random_pattern(rng, 12, 9, rng.uniform(0.05, 0.5))
        colors, count = distance2(pattern, order)
        dense = pattern.toarray()
        assert sorted(set(colors[colors >= 0].tolist())) == list(range(count))
        for v, w in itertools.combinations(range(12), 2):
            if (dense[v] & dense[w]).any():
                assert colors[v] != colors[w]


@pytest.mark.parametrize("order", ORDERS)
def test_star_colorings_by_their_definition(order):
    rng = np.random.default_rng(2)
    for _ in range(100):
        n = int(rng.integers(1, 14))
        pattern = symmetric(random_pattern(rng, n, n, rng.uniform(0.02, 0.4)))
        colors, _ = star(pattern, order)
        assert is_star_coloring(pattern.toarray(), colors)


def test_every_entry_of_random_matrices_is_recovered():
    rng = np.random.default_rng(3)
    for trial in range(200):
        m, n = rng.integers(1, 20, 2)
        pattern = random_pattern(rng, m, n, rng.uniform(0, 0.4))
        if trial % 2 and min(m, n) > 2:
            dense = pattern.toarray()
            dense[rng.integers(m)] = True
            dense[:, rng.integers(n)] |= trial % 4 == 1
            pattern = sp.csr_array(dense)
        matrix = pattern.toarray() * rng.uniform(1, 2, (m, n))
        for sides in ({}, {"reverse": False}, {"forward": False}):
            assert np.array_equal(recovered(matrix, pattern, color_jacobian(pattern, **sides)),
                                  matrix)  # fmt: skip


def test_every_entry_of_random_symmetric_matrices_is_recovered():
    rng = np.random.default_rng(4)
    for _ in range(200):
        n = int(rng.integers(1, 25))
        pattern = symmetric(random_pattern(rng, n, n, rng.uniform(0, 0.3)))
        matrix = np.triu(rng.uniform(1, 2, (n, n)))
        matrix = (matrix + matrix.T) * pattern.toarray()
        assert np.array_equal(recovered(matrix, pattern, color_hessian(pattern)), matrix)
