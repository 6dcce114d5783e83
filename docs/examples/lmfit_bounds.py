"""A peak in lmfit, with bounds and exact derivatives.

lmfit has parameters by name, with bounds, some of them fixed; the function here takes a dict of
them, and so does its Jacobian.

Needs: pip install 'diffface[autograd]' lmfit
"""

import lmfit
import numpy as np

import diffface as dif

x = np.linspace(0.0, 10.0, 101)
true = {"height": 4.0, "center": 5.2, "width": 0.8, "background": 0.5}


def model(p, x):
    xp = dif.namespace(p["height"])
    return p["height"] * xp.exp(-0.5 * ((x - p["center"]) / p["width"]) ** 2) + p["background"]


y = model({name: np.asarray(value) for name, value in true.items()}, x)
y = y + 0.1 * np.random.default_rng(0).normal(size=x.size)


def misfit(p, x, y):
    return model(p, x) - y


start = lmfit.create_params(
    height=2.0, center={"value": 4.0, "min": 3.0, "max": 7.0}, width={"value": 1.5, "min": 0.1},
    background={"value": 0.5, "vary": False},
)  # fmt: skip
jacobian = dif.prepare_jacobian(
    misfit, start.valuesdict(), dif.Const(x), dif.Const(y), backend="autograd"
)


def columns(parameters, x, y):
    """Derivatives by the parameters that vary, shape (n, 3), as lmfit wants them."""
    found = jacobian(parameters.valuesdict(), x, y)
    return np.column_stack([found[name] for name, p in parameters.items() if p.vary])


before = lmfit.minimize(misfit, start, args=(x, y))
after = lmfit.minimize(misfit, start, args=(x, y), Dfun=columns)

print("parameters: ", {name: round(value, 3) for name, value in after.params.valuesdict().items()})
print("evaluations without diffface:", before.nfev)
print("evaluations with it:", after.nfev)
