"""A trained network is pruned to a target while it trains on: its files, its result, what it
says."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from model import compactor, count_macs, count_params
from model.gate import gates_of
from utils.compression.criteria import Criterion, Magnitude, Random, Taylor
from utils.compression.given import Given, read_given
from utils.compression.goals import Wanted, goal_of, wanted
from utils.compression.rounds import widths_of
from utils.compression.state import GoalPruner, Rounds, Shrinking
from utils.data import Data, evaluation_batches, training_batches
from utils.errors import UserError
from utils.records.methods import refuse_impossible
from utils.records.results import Result
from utils.settings import Machine, Storage, stored
from utils.settings.compression import Compression, PruningSettings
from utils.settings.target import people
from utils.training.device import Runner
from utils.training.loop import evaluate
from utils.training.magnitude import filter_norms
from utils.training.prepare import check_memory, prepare
