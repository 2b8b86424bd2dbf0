"""Recipes of papers, ``+experiment=NAME``: they compose, and have the settings that the papers state."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pytest
import yaml
from omegaconf import DictConfig
from recipe_tools import recipe_config, recipe_model

from zoo.config import check_choices, compose_run, identify, options, shipped, to_dict
from zoo.config.compose import merged
from zoo.config.identities import Identities
from zoo.errors import ZooError
from zoo.sweep import check_sweep, expand

EXPERIMENTS = options("experiment")


@functools.cache
def composed(*overrides: str) -> DictConfig:
    return compose_run(overrides)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_setting_of_a_recipe_exists_in_its_model_data_and_training(name):
    recipe = recipe_config(name)
    choices = recipe.hydra.runtime.choices
    groups = [f"{group}={choices[group]}" for group in ("model", "data", "training")]
    plain = composed(*groups)
    for section in ("model", "data", "training"):
        assert keys(recipe[section]) == keys(plain[section])
    trainer = ("trainer", "logger", "evaluation")
    assert [recipe[section] for section in trainer] == [plain[section] for section in trainer]
    assert recipe.training.updates != plain.training.updates, "a recipe states its length"


def test_no_two_recipes_spell_out_the_same_training():
    """A recipe that is another one with a few lines changed inherits it."""
    files = sorted((shipped("conf") / "experiment").rglob("*.yaml"))
    trainings = {
        file.stem: {
            f"{key}: {value}" for key, value in yaml.safe_load(file.read_text()).get("training", {}).items()
        }
        for file in files
    }
    assert len(trainings) > len(EXPERIMENTS)
    repeated = [
        (one, other)
        for one, other in itertools.combinations(trainings, 2)
        if len(trainings[one] & trainings[other]) > 6
    ]
    assert repeated == []


def keys(node, prefix=""):
    nested = [keys(value, f"{prefix}{key}.") for key, value in node.items() if hasattr(value, "items")]
    return {prefix + str(key) for key in node} | set().union(*nested)


def test_the_plus_before_experiment_may_be_left_out():
    with_plus, without = (compose_run([f"{e}=wgan_gp_toy"]) for e in ("+experiment", "experiment"))
    assert identify(with_plus) == identify(without)
    assert with_plus.training.batch_size == 256


def test_a_recipe_sets_the_names_of_model_and_data_and_overrides_win():
    identity = identify(compose_run(["+experiment=wgan_gp_toy"]))
    assert (identity.model, identity.data) == ("wgan_gp", "8gaussians")
    config = compose_run(["data=moons", "model.hidden=8", "+experiment=wgan_gp_toy", "training.updates=5"])
    assert (config.data.name, config.model.hidden, config.training.updates) == ("moons", 8, 5)
    assert config.model.depth == 3


@pytest.mark.parametrize("override", ["+experiment=wgan_gp_toys", "experiment=wgan_gp_toys"])
def test_an_unknown_recipe_is_offered_the_nearest_one(override):
    with pytest.raises(ZooError, match="did you mean wgan_gp_toy"):
        check_choices([override])


@pytest.mark.parametrize("plus", ["+", ""])
def test_a_sweep_runs_recipes(plus):
    sweep = {
        "grid": {f"{plus}experiment": ["wgan_gp_toy", "wgan_gp_mnist"], "seed": [0, 1]},
        "when": {f"{plus}experiment=wgan_gp_toy": {"training.updates": 3}},
    }
    jobs = expand(check_sweep(sweep, "mine"), ["logger=none"])
    identities = Identities()
    identified = [identities.of(job) for job in jobs]
    assert identified == [identify(compose_run(job)) for job in jobs]
    assert [(i.model, i.data, i.seed) for i in identified] == [
        ("wgan_gp", "8gaussians", 0),
        ("wgan_gp", "8gaussians", 1),
        ("wgan_gp", "mnist", 0),
        ("wgan_gp", "mnist", 1),
    ]
    assert identified[0].config["training"]["updates"] == 3
    assert len({i.config_hash for i in identified}) == 4


# Recipes of tables, by the beginning of their names, and their data.
DATA = {
    "maf_table2": "mnist_logit",
    "svae": "mnist_dynamic",
    "tong": "normal_8gaussians",
    "uci": "dna",
    "pacgan": "ring_mixture",
    "mnist_static": "mnist_static",
}

# Settings in the papers, typed a second time: a number of weights does not show a dropout or a rate.
PENALISED = {"batch_size": 100, "weight_decay": 1e-6, "loss_per": "example", "patience": 30, "clip": None}
TWO = {"hidden": [1024, 1024]}
ADADELTA = {"optimizer": "adadelta", "betas": [0.9, 0.95], "eps": 1e-5, "batch_size": 100, "patience": 30}
ADAGRAD = {"optimizer": "adagrad", "lr": 1e-2, "batch_size": 100, "patience": 30}
PLANAR = {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 1e-5, "batch_size": 512, "ema": 0}
UNET = {"channels": 128, "multipliers": [1, 2, 2, 2], "blocks": 2, "attention": [16], "frequency": 1000.0}
STATED: dict[str, dict[str, Any]] = {
    # Ho et al. 2020, appendix B; Nichol & Dhariwal 2021 (README of their code); Tong et al. 2024 (README)
    "ddpm_cifar10": {
        "model": {"schedule": {"timesteps": 1000, "form": "linear"}, "unet": UNET | {"dropout": 0.1}},
        "training": {"lr": 2e-4, "warmup": 5000, "ema": 0.9999, "batch_size": 128, "updates": 800_000},
    },
    "iddpm_cifar10": {
        "model": {"schedule": {"timesteps": 4000, "form": "cosine"}},
        "training": {"lr": 1e-4, "ema": 0.9999, "batch_size": 128, "updates": 500_000},
    },
    "flow_matching_cifar10": {
        "model": {"coupling": "minibatch_ot", "unet": UNET},
        "training": {"lr": 2e-4, "warmup": 5000, "ema": 0.9999, "batch_size": 128, "updates": 400_000},
    },
    # Grathwohl et al. 2019, appendix
    "ffjord_mnist": {
        "model": {"scales": 3, "flows": 2, "activation": "softplus", "pixels": {"alpha": 1e-6}},
        "training": {"lr": 1e-3, "batch_size": 900},
    },
    "ffjord_cifar10": {"model": {"scales": 4, "flows": 2, "pixels": {"alpha": 0.05}}},
    "ffjord_toy": {
        "model": {
            "hidden": [64, 64, 64],
            "activation": "tanh",
            "flows": 1,
            "solver": {"train_trace": "exact"},
        },
        "training": {"lr": 1e-3, "weight_decay": 1e-5, "batch_size": 100, "updates": 10_000},
    },
    # Kingma & Dhariwal 2018, table 4
    "glow_cifar10": {
        "model": {
            "levels": 3,
            "steps": 32,
            "width": 512,
            "additive": False,
            "pixels": {"preprocessing": "centre"},
        },
        "training": {"lr": 1e-3, "batch_size": 512, "ema": 0},
    },
    "glow_imagenet64": {"model": {"levels": 4, "steps": 48, "width": 512}, "training": {"batch_size": 128}},
    # Behrmann et al. 2019, appendix C, and the authors' script
    "iresnet_mnist": {"model": {"blocks": 32, "series": {"terms": 10}}, "training": {"lr": 3e-3}},
    "iresnet_cifar10": {"model": {"blocks": 16, "series": {"terms": 5}}, "training": {"batch_size": 128}},
    "iresnet_cifar10_paper": {"model": {"blocks": 32, "width": 512, "base": "diagonal"}},
    # Chen et al. 2019, appendix E and its code
    "residual_flow_mnist": {
        "model": {
            "spectral": {"coefficient": 0.98, "train_tolerance": 1e-3},
            "series": {"terms": 2, "eval_terms": 20, "gradient": "neumann"},
            "activation": "lipswish",
        },
        "training": {"lr": 1e-3, "betas": [0.9, 0.99], "batch_size": 64, "ema": 0.999, "warmup": 1000},
    },
    "residual_flow_cifar10": {"model": {"dense_blocks": 4, "pixels": {"alpha": 0.05}}},
    # Dinh et al. 2017, section 4.1
    "realnvp_cifar10": {
        "model": {"width": 64, "blocks": 8, "pixels": {"preprocessing": "logit", "alpha": 0.05}},
        "training": {"batch_size": 64},
    },
    # Durkan et al. 2019, table 4 and the image configurations of bayesiains/nsf
    "nsf_coupling_cifar10": {
        "model": {"levels": 3, "steps": 7, "width": 96, "blocks": 3, "bins": 4, "bound": 3.0, "dropout": 0.2},
        "training": {"lr": 5e-4, "batch_size": 512, "updates": 200_000},
    },
    "nsf_coupling_imagenet64": {
        "model": {"levels": 4, "steps": 7, "width": 96, "blocks": 3, "bins": 8, "bound": 3.0, "dropout": 0.0},
        "training": {"lr": 5e-4, "batch_size": 256, "updates": 200_000},
    },
    # Salimans et al. 2017; openai/pixel-cnn, train.py
    "pixelcnn_pp_cifar10": {
        "model": {"width": 160, "blocks": 5, "components": 10, "dropout": 0.5},
        "training": {"lr": 1e-3, "betas": [0.95, 0.9995], "ema": 0.9995},
    },
    # Zhai et al. 2024; apple/ml-tarflow
    "tarflow_mnist": {
        "model": {"noise": "gaussian", "noise_std": 0.1},
        "training": {"lr": 2e-3, "batch_size": 256, "betas": [0.9, 0.95], "weight_decay": 1e-4, "clip": None},
    },
    "tarflow_imagenet64_bpd": {
        "model": {"noise": "uniform", "conditional": False},
        "training": {
            "optimizer": "adamw",
            "lr": 1e-4,
            "betas": [0.9, 0.95],
            "weight_decay": 1e-4,
            "batch_size": 256,
        },
    },
    "tarflow_imagenet64_fid": {"model": {"noise": "gaussian", "noise_std": 0.05, "conditional": True}},
    # Miyato et al. 2018, table 4; Gulrajani et al. 2017 and the authors' programs
    "sngan_cifar10": {
        "training": {
            "lr": 2e-4,
            "batch_size": 64,
            "updates": 50_000,
            "critic_steps": 5,
            "generator_batches": 2,
            "ema": 0,
        },
    },
    "wgan_gp_resnet_cifar10": {
        "training": {"lr": 2e-4, "schedule": "linear", "updates": 100_000, "critic_steps": 5, "ema": 0},
    },
    "wgan_gp_cifar10": {
        "training": {"lr": 1e-4, "betas": [0.5, 0.9], "updates": 200_000, "critic_steps": 5, "ema": 0},
    },
    "wgan_gp_mnist": {
        "model": {"latent_dim": 128, "generator_norm": "none"},
        "training": {
            "lr": 1e-4,
            "betas": [0.5, 0.9],
            "batch_size": 50,
            "updates": 200_000,
            "gradient_penalty": 10.0,
        },
    },
    # Papamakarios et al. 2017, section 4.2 and gpapamak/maf, run_experiments.py
    **{
        f"maf_table2_{row}{column}": {
            "model": {**TWO, **model, "conditional": bool(column)},
            "training": {**PENALISED, "lr": lr},
        }
        for row, lr, model in (
            ("made", 1e-3, {"degrees": "cyclic", "log_scale_bound": None}),
            ("made_mog", 1e-3, {"degrees": "cyclic", "components": 10, "log_scale_bound": None}),
            ("maf5", 1e-4, {"degrees": "cyclic", "layers": 5, "batch_norm": True, "log_scale_bound": None}),
            ("maf10", 1e-4, {"degrees": "cyclic", "layers": 10, "batch_norm": True, "log_scale_bound": None}),
            ("maf_mog", 1e-4, {"degrees": "cyclic", "layers": 5, "components": 10, "batch_norm": True}),
            ("realnvp5", 1e-4, {"layers": 5, "separate": True, "normalisation": "batchnorm_full"}),
            ("realnvp10", 1e-4, {"layers": 10, "separate": True, "bound": None}),
        )
        for column in ("", "_conditional")
    },
    # Davidson et al. 2018, table 1, and nicola-decao/s-vae-pytorch
    "svae_mnist_dynamic": {
        "model": {"encoder": [256, 128], "decoder": [128, 256], "std": "softplus", "importance_samples": 500},
        "training": {
            "lr": 1e-3,
            "batch_size": 64,
            "beta_warmup": 100 * 781,
            "patience": 50,
            "patience_start": 100 * 781,
        },
    },
    # Tong et al. 2024 and atong01/conditional-flow-matching, runner/scripts/two-dim-cfm.sh
    **{
        f"tong_{row}": {
            "model": {
                **model,
                "sigma": 0.1,
                "dense": "selu",
                "hidden": [64] * 3,
                "solver": {"method": "euler", "steps": 100},
            },
            "training": PLANAR,
        }
        for row, model in (
            ("cfm", {"path": "straight", "coupling": "independent"}),
            ("otcfm", {"path": "straight", "coupling": "minibatch_ot", "resample": True}),
            ("fm", {"path": "gaussian", "coupling": "independent"}),
        )
    },
    # Lin et al. 2018 and fjxmlzn/PacGAN
    **{
        f"pacgan_{row}": {
            "model": {
                "packing": m,
                "hidden": [400] * 4,
                "critic_hidden": [200] * 3,
                "pieces": 5,
                "start": 0.02,
            },
            "training": {
                "batch_size": 100 * m,
                "lr": 1e-4,
                "betas": [0.8, 0.999],
                "updates": 400_000,
                "simultaneous": True,
            },
        }
        for row, m in (("gan", 1), ("pacgan2", 2), ("pacgan3", 3), ("pacgan4", 4))
    },
    # Germain et al. 2015 and mgermain/MADE, README
    "uci_mixture": {},
    "uci_fvsbn": {"model": {"hidden": [], "direct": True}, "training": ADADELTA | {"eps": 1e-6}},
    "uci_made": {"model": {"hidden": [500], "masks": 1, "direct": True}, "training": ADADELTA},
    "uci_made_masks": {"model": {"hidden": [500], "masks": 0, "order": "random"}, "training": ADADELTA},
    "mnist_static_mixture": {},
    "mnist_static_fvsbn": {"model": {"hidden": []}, "training": ADADELTA | {"eps": 1e-6}},
    **{
        f"mnist_static_made_{layers}hl{masks}": {
            "model": {"hidden": [8000] * layers, "masks": 32 if masks else 1, "initialisation": "orthogonal"},
            "training": ADAGRAD,
        }
        for layers in (1, 2)
        for masks in ("", "_masks")
    },
    "wgan_gp_toy": {
        "model": {"latent_dim": 2, "hidden": 512, "depth": 3},
        "training": {
            "lr": 1e-4,
            "batch_size": 256,
            "updates": 100_000,
            "gradient_penalty": 0.1,
            "critic_steps": 5,
        },
    },
}
# Epochs, training images and batch of a paper: updates are epochs times whole batches.
EPOCHS = {
    "ffjord_mnist": (500, 60_000, 900),
    "ffjord_cifar10": (500, 50_000, 900),
    "iresnet_mnist": (200, 60_000, 128),
    "iresnet_cifar10": (200, 50_000, 128),
    "iresnet_cifar10_paper": (200, 50_000, 128),
    "residual_flow_mnist": (1000, 60_000, 64),
    "residual_flow_cifar10": (1000, 50_000, 64),
    "realnvp_cifar10": (100, 50_000, 64),
    "pixelcnn_pp_cifar10": (5000, 50_000, 96),
    "tarflow_mnist": (100, 60_000, 256),
    "tarflow_imagenet64_bpd": (100, 1_281_167, 256),
    "tarflow_imagenet64_fid": (200, 1_281_167, 256),
    "glow_imagenet64": (100, 1_281_167, 128),
    "maf_table2_made": (1000, 50_000, 100),
    "svae_mnist_dynamic": (1000, 50_000, 64),
    "uci_made": (1000, 1400, 100),
    "mnist_static_made_2hl_masks": (1000, 50_000, 100),
}
# Numbers of weights that papers state, with a relative tolerance.
WEIGHTS = {
    "ddpm_cifar10": (35_746_307, 0.0),
    "iddpm_cifar10": (35_746_307, 0.0),
    "flow_matching_cifar10": (35_746_307, 0.0),
    "glow_cifar10": (44e6, 0.01),
    "glow_imagenet64": (110.9e6, 0.01),
    "nsf_coupling_cifar10": (11.8e6, 0.01),
    "nsf_coupling_imagenet64": (15.6e6, 0.01),
    "sngan_cifar10": (4_276_739 + 1_053_824 + 1, 0.0),
}


def test_every_recipe_has_an_entry_with_the_settings_of_its_paper():
    assert set(STATED) == set(EXPERIMENTS)
    assert len(EXPERIMENTS) >= 20


@pytest.mark.parametrize("name", STATED)
def test_a_recipe_has_the_settings_that_its_paper_states(name):
    config = recipe_config(name)
    assert config.data.name == {"toy": "8gaussians"}.get(data := data_of(name), data)
    for section, stated in STATED[name].items():
        settings = to_dict(config[section])
        assert merged(settings, stated) == settings


@pytest.mark.parametrize("name", EPOCHS)
def test_updates_are_epochs_times_whole_batches(name):
    training = recipe_config(name).training
    epochs, train, batch = EPOCHS[name]
    assert training.batch_size == batch
    assert training.updates == epochs * (train // batch)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_model_of_a_recipe_builds_at_the_size_that_its_paper_states(name):
    size = sum(p.numel() for p in recipe_model(name).parameters())
    weights, tolerance = WEIGHTS.get(name, (size, 0.0))
    assert size > 0
    assert size == pytest.approx(weights, rel=tolerance)


def data_of(name):
    for start, data in DATA.items():
        if name.startswith(start):
            return data
    return name.removesuffix("_paper").removesuffix("_bpd").removesuffix("_fid").rpartition("_")[2]
