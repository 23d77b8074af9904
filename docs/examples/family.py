"""A Llama with further norms on the outputs of attention and MLP."""

from mtjax.model.families.base import FAMILIES, Family
from mtjax.model.families.tables import LLAMA_TENSORS, in_layer


@FAMILIES.register("my_llama")
class MyLlama(Family):
    """The shape of Llama with norms before and after attention and MLP.

    Want it as an example of a family: no published model has this `model_type`.

    Source: docs/models.md, "Add a family".
    """

    architecture = "MyLlamaForCausalLM"  # the class in transformers
    max_length = 4096  # where config.json has no max_position_embeddings
    switches = {"norm_places": "both"}  # settings of DecoderConfig that the family decides
    constants = {"attention_bias": False}  # keys of config.json that always have this value
    tensors = (
        *LLAMA_TENSORS,
        in_layer("attention_post_norm.scale", "attention_norm.weight", None),
        in_layer("mlp_post_norm.scale", "feed_forward_norm.weight", None),
    )
