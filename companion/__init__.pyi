from .denoiser import Denoiser as Denoiser
from .denoiser import FunctionDenoiser as FunctionDenoiser
from .entropy import Partition as Partition
from .entropy import partition as partition
from .errors import InputError as InputError
from .estimate.bracket import bracket as bracket
from .estimate.held_out import calibration as calibration
from .estimate.result import Profile as Profile
from .estimate.result import time_grid as time_grid
from .estimate.run import profile as profile
from .estimate.run import profiles as profiles
from .estimate.run import run as run
from .exact.empirical import EmpiricalDistribution as EmpiricalDistribution
from .exact.empirical import empirical_distribution as empirical_distribution
from .exact.mixtures import GaussianMixture as GaussianMixture
from .exact.mixtures import full_mixture as full_mixture
from .exact.mixtures import isotropic_mixture as isotropic_mixture
from .figures import plot as plot
from .guidance import guided as guided
from .guiders import GuidanceByNoise as GuidanceByNoise
from .guiders import guide_by_noise as guide_by_noise
from .models.checks import examine as examine
from .models.load import load as load
from .models.steps import Interval as Interval
from .models.steps import scheduler_grid as scheduler_grid

__version__: str
