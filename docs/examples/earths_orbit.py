"""A fit through a root finder: the Earth's orbit from the dates of the seasons.

At the equinoxes and solstices the Sun's longitude is a multiple of 90°. The seasons are not of
equal length, because the Earth moves faster where it is nearer to the Sun. Where it is at a time
follows from Kepler's equation E - e sin E = M, which SciPy solves; the derivatives are those of the
implicit function theorem. The eccentricity is known to be 0.0167, and in 2024 the Earth was nearest
on 3 January; the Moon, which is left out here, moves that day by one or two.

Needs: pip install 'diffface[autograd]' scipy
"""

import numpy as np
from scipy.optimize import least_squares, newton

import diffface as dif

# Equinoxes and solstices from March 2024 on, in days after 1 January 2024, 0 h UT (U.S. Naval
# Observatory).
dates = np.array([
    "2024-03-20T03:06", "2024-06-20T20:51", "2024-09-22T12:44", "2024-12-21T09:20",
    "2025-03-20T09:01", "2025-06-21T02:42", "2025-09-22T18:19", "2025-12-21T15:03",
], "datetime64[m]")  # fmt: skip
times = (dates - np.datetime64("2024-01-01T00:00")) / np.timedelta64(1, "D")
longitudes = np.pi / 2 * np.arange(8)
year = 365.2422


def kepler(E, M, e):
    """Zero at the eccentric anomaly E, shape (n,), for mean anomalies M and an eccentricity e."""
    return E - e * dif.namespace(E).sin(E) - M


eccentric = dif.implicit(kepler, lambda M, e: newton(kepler, M, args=(M, e)))


def residuals(p):
    """Modelled less true longitudes, for p = (eccentricity, day and longitude of perihelion)."""
    xp = dif.namespace(p)
    e = p[0]
    E = eccentric(2 * np.pi / year * (times - p[1]), e)
    anomaly = 2 * xp.atan(xp.sqrt((1 + e) / (1 - e)) * xp.tan(E / 2))
    difference = anomaly + p[2] - longitudes
    return xp.atan2(xp.sin(difference), xp.cos(difference))  # whole turns do not count


problem = dif.residuals(residuals, np.array([0.1, 0.0, -1.0]), backend="autograd")
fit = least_squares(problem.fun, problem.x0, problem.jac, x_scale="jac")
eccentricity, day = fit.x[:2]

print(f"eccentricity {eccentricity:.4f}")
nearest = np.datetime64("2024-01-01T00:00") + np.timedelta64(round(1440 * day), "m")
print("nearest to the Sun:", nearest)
print(f"left over: {np.degrees(np.abs(fit.fun)).max():.4f}°")
