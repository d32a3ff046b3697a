"""Plans of models: module name -> how it is split."""

from __future__ import annotations

from lab_utils.strategies.model.tensor_parallel.plan import Plan
from lab_utils.strategies.model.tensor_parallel.splits import (
    Column,
    Dropout,
    HeadDropout,
    Heads,
    Loss,
    NoDropout,
    Positions,
    Row,
    TokenByToken,
    Vocabulary,
)

GPT: Plan = {  # lab_utils.gpt
    "tokens": Vocabulary(),
    "positions": Positions(),
    "dropout": Dropout(),
    "blocks.*.norm{1,2}": TokenByToken(),
    "blocks.*.attention": HeadDropout(),
    "blocks.*.attention.{query,key,value}": Heads("width"),
    "blocks.*.attention.out": Row(),
    "blocks.*.mlp.up": Column(),
    "blocks.*.mlp.down": Row(),
    "blocks.*.dropout": Dropout(),
    "norm": TokenByToken(),
    "head": Vocabulary(),
    "": Loss("config.vocabulary"),
}

# transformers' models read the length of their activations, so that these are whole: no sequence parallelism.
GPT2: Plan = {
    "transformer.wte": Vocabulary(),
    "transformer.{wpe,ln_f}": TokenByToken(),
    "transformer.h.*.ln_{1,2}": TokenByToken(),
    "transformer.h.*.attn.c_attn": Heads("head_dim", parts=3, local={"split_size": lambda heads, kv, d: heads * d}),
    "transformer.h.*.attn.attn_dropout": NoDropout(),
    "transformer.h.*.{attn,mlp}.c_proj": Row(),
    "transformer.h.*.mlp.c_fc": Column(),
    "transformer.drop": Dropout(),
    "transformer.h.*.attn.resid_dropout": Dropout(),
    "transformer.h.*.mlp.dropout": Dropout(),
    "lm_head": Vocabulary(),
    "": Loss("config.vocab_size", sequence=False),
}

_LLAMA_ATTENTION: Plan = {
    "model.embed_tokens": Vocabulary(),
    "model.layers.*.{input,post_attention}_layernorm": TokenByToken(),
    "model.layers.*.self_attn.{q,k,v}_proj": Heads(
        "head_dim", local={"num_key_value_groups": lambda heads, kv, d: heads // kv}
    ),
    "model.layers.*.self_attn.o_proj": Row(),
    "model.norm": TokenByToken(),
    "lm_head": Vocabulary(),
    "": Loss("config.vocab_size", sequence=False),
}

LLAMA: Plan = {
    "model.layers.*.mlp.{gate,up}_proj": Column(),
    "model.layers.*.mlp.down_proj": Row(),
    **_LLAMA_ATTENTION,
}

MIXTRAL: Plan = {  # every rank computes all experts
    "model.layers.*.mlp.{gate,experts}": TokenByToken(),
    **_LLAMA_ATTENTION,
}
