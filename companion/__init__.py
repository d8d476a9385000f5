"""Class entropy along diffusion trajectories: when a diffusion model decides what it draws.

    model = companion.load("digits")             # or a folder, a pipeline, a network; FunctionDenoiser for a function
    result = companion.profile(model, "3|8")     # the class entropy at every level of noise
    print(result.summary())
    companion.plot(result)

Noise levels are log-snr, entropies are in nats.
"""

import lazy_loader

__version__ = "0.2.0"

# The public names of `__init__.pyi`, each imported when it is first asked for: --help and a version wait for no torch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
