"""The work itself: what a study file imports.

from comity.learning import Column, FedAdam, Study, Tensor
"""

from comity.learning.evaluation import accuracy as accuracy
from comity.learning.evaluation import auc as auc
from comity.learning.evaluation import log_loss as log_loss
from comity.learning.given import Metric as Metric
from comity.learning.methods.fedprox import FedProx as FedProx
from comity.learning.methods.pull import Pull as Pull
from comity.learning.methods.scaffold import Scaffold as Scaffold
from comity.learning.perceptron import Perceptron as Perceptron
from comity.learning.perceptron import first_layers as first_layers
from comity.learning.steps import FedAdagrad as FedAdagrad
from comity.learning.steps import FedAdam as FedAdam
from comity.learning.steps import FedAvg as FedAvg
from comity.learning.steps import FedYogi as FedYogi
from comity.learning.steps import Float64Array as Float64Array
from comity.learning.steps import Momentum as Momentum
from comity.learning.steps import Nesterov as Nesterov
from comity.learning.study import Study as Study
from comity.learning.study import Tensor as Tensor
from comity.learning.study import Tensors as Tensors
from comity.learning.tables import Column as Column
from comity.learning.tables import Source as Source
from comity.learning.tables import Table as Table
from comity.learning.training import Logistic as Logistic
from comity.learning.training import adam as adam
from comity.learning.training import batches as batches
from comity.learning.training import first_weights as first_weights
from comity.learning.training import sgd as sgd
from comity.learning.training import sigmoid as sigmoid
from comity.learning.training import standardised as standardised
from comity.statements.studies import UseTerms as UseTerms
