"""One model out of several that were trained from the same base: their weight deltas, put together.

Tensor by tensor and shard by shard: memory holds one shard of the result, and of each model one tensor. Weights that
are not in safetensors files, and LoRA, are first made into such files, one model at a time.
"""

from mcpo_rl.models.merging.forms import FORMS, MergeOptions
from mcpo_rl.models.merging.merge import MergeReport, merge_models

__all__ = ["FORMS", "MergeOptions", "MergeReport", "merge_models"]
