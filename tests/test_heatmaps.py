"""Maps equal the package's own, leave no trace on the model, and do not mix between threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.ablation_layer import AblationLayerVit
from pytorch_grad_cam.utils.image import scale_cam_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget, ClassifierOutputTarget

from rcdnet.bench import grid_of_tokens
from rcdnet.errors import HeatmapError
from rcdnet.models.registry import MODELS, create_model
from rcdnet.reading.heatmaps import (
    METHODS,
    SLOW_METHODS,
    ZeroedChannels,
    class_activation_maps,
    logits_and_maps,
    random_maps,
)
from rcdnet.reading.inference import classify
from train.data.phantoms import SAMPLE_PHANTOMS, render_phantom

THREADS, REQUESTS = 4, len(METHODS)


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.randn(1, 1, 224, 224, generator=torch.Generator().manual_seed(5))


def features_of(network, x) -> torch.Tensor:
    with torch.no_grad():
        return network.forward_features(x)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_equal_to_pytorch_grad_cam_over_the_untouched_model(name, method, classifiers, x):
    network = create_model(name)
    network.load_state_dict(classifiers[name].network.state_dict())
    with torch.no_grad():
        network.get_classifier().weight.abs_()  # an empty map on both sides would prove nothing
    network.eval()
    with METHODS[method](
        model=network,
        target_layers=[network.get_submodule(MODELS[name].target_layer)],
        reshape_transform=grid_of_tokens if name == "vit" else None,
    ) as cam:
        theirs = [cam(input_tensor=x, targets=[ClassifierOutputTarget(k)])[0] for k in (0, 1)]
    ours = logits_and_maps(network.requires_grad_(False), features_of(network, x), method=METHODS[method])[1]
    for k in (0, 1):
        assert ours[k].max() > 0
        scaled = scale_cam_image(scale_cam_image(ours[k][None], (224, 224)))[0]  # as the package does, in this order
        assert np.abs(scaled - theirs[k]).max() <= 1e-4


class ZeroedTokens(AblationLayerVit):
    """What `ZeroedChannels` does, on the tokens (N, T, C) of an untouched ViT, all but the class token."""

    def __call__(self, x):
        for row in range(len(self.activations)):
            self.activations[row, 1:, self.indices[row]] = 0
        return self.activations


@pytest.mark.parametrize("method", SLOW_METHODS)
@pytest.mark.parametrize("name", ["mobilenetv2", "vit"])
def test_slow_methods_equal_the_package_too(name, method, classifiers):
    """Small canvases, for the package passes every channel through the whole network, and does so for each class."""
    x = torch.randn(1, 1, 96, 96, generator=torch.Generator().manual_seed(6))
    network = create_model(name)
    network.load_state_dict(classifiers[name].network.state_dict())
    network.eval()
    ablation = method == "AblationCAM"
    target = ClassifierOutputSoftmaxTarget if ablation else ClassifierOutputTarget
    with SLOW_METHODS[method](
        model=network,
        target_layers=[network.get_submodule(MODELS[name].target_layer)],
        reshape_transform=grid_of_tokens if name == "vit" else None,
        **({"ablation_layer": ZeroedTokens() if name == "vit" else ZeroedChannels()} if ablation else {}),
    ) as cam:
        theirs = [cam(input_tensor=x, targets=[target(k)])[0] for k in (0, 1)]
    ticks = []
    network.requires_grad_(False)
    ours = class_activation_maps(network, x, features_of(network, x), method, tick=lambda: ticks.append(1))[1]
    assert len(ticks) > 5
    # One class's map may be empty: with two classes, what speaks for one speaks against the other
    assert ours.max() > 0
    for k in (0, 1):
        scaled = scale_cam_image(scale_cam_image(ours[k][None], (96, 96)))[0]
        assert np.abs(scaled - theirs[k]).max() <= 1e-4


def test_a_slow_method_ends_when_its_tick_raises(classifiers, x):
    class Cancelled(BaseException):
        pass

    def cancel():
        raise Cancelled

    network = classifiers["mobilenetv2"].network
    for method in SLOW_METHODS:
        with pytest.raises(Cancelled):
            class_activation_maps(network, x, features_of(network, x), method, tick=cancel)


def test_random_maps_repeat(classifiers, x):
    network = classifiers["mobilenetv2"].network
    features = features_of(network, x)
    first, again, other = (random_maps(network, features, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


@pytest.mark.parametrize("name", MODELS)
def test_nothing_stays_on_the_model(name, classifiers, x):
    network = classifiers[name].network
    before = {key: value.clone() for key, value in network.state_dict().items()}
    copy = x.clone()
    logits, _ = logits_and_maps(network, features_of(network, x))
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(logits), network(x)[0], atol=1e-4, rtol=1e-4)
    assert torch.equal(x, copy)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    for module in network.modules():
        assert not module._forward_hooks
        assert not module._backward_hooks
        assert not module.training


def test_threads_do_not_mix_results(classifiers):
    """Hooks on a shared model gave wrong maps and crashes; one streamlit user with a slider is enough for it.

    At every moment the threads work on different scans by different methods.
    """
    chosen, methods = (
        [classifiers[name] for name in ("rcdnet", "mobilenetv2", "vit")],
        list(METHODS),
    )
    scans = [
        render_phantom(recipe, seed).image for recipe, seed in zip(SAMPLE_PHANTOMS.values(), (3, 4, 5), strict=True)
    ]
    expected = [{(p.model, p.method): p for p in classify(scan, chosen, methods)} for scan in scans]

    def differ(one, other) -> bool:
        strongest = max(one.maps.max(), other.maps.max())
        maps = np.abs(one.maps - other.maps).max() > 1e-3 * strongest
        return bool(maps or not np.allclose(one.probabilities, other.probabilities, atol=1e-4))

    for key in expected[0]:  # otherwise the comparison below would prove nothing
        assert all(differ(expected[a][key], expected[b][key]) for a, b in ((0, 1), (1, 2), (0, 2)))

    def requests(thread: int) -> int:
        wrong = 0
        for request in range(REQUESTS):
            k, method = (thread + request) % len(scans), methods[(thread + request) % len(methods)]
            made = classify(scans[k], chosen, [method])
            assert len(made) == len(chosen)
            wrong += sum(differ(p, expected[k][p.model, p.method]) for p in made)
        return wrong

    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(requests, range(THREADS))) == [0] * THREADS


def test_a_map_that_cannot_be_computed_is_an_error(classifiers, x):
    broken = create_model("mobilenetv2").eval().requires_grad_(False)
    with torch.no_grad():
        broken.classifier.weight.fill_(float("nan"))
    with pytest.raises(HeatmapError, match="no finite values"):
        logits_and_maps(broken, features_of(broken, x))


def test_a_failing_method_is_an_error_not_a_stand_in(classifiers, x):
    class Failing(GradCAM):
        def get_cam_weights(self, *arguments):
            raise IndexError("the package's `with` would swallow this")

    network = classifiers["mobilenetv2"].network
    features = features_of(network, x)
    with pytest.raises(HeatmapError):
        logits_and_maps(network, features, method=Failing)
