"""RcdNet is the paper's network: EfficientNet trunk, depthwise separable convolution, CBAM, classifier."""

import timm
import torch
from timm.layers.cbam import CbamModule

from rcdnet.models.rcdnet import DilatedConv, RcdNet


def test_parts_and_their_order():
    network = RcdNet().eval()
    assert [name for name, _ in network.named_children()] == ["trunk", "dsc", "cbam", "head"]
    assert isinstance(network.cbam, CbamModule)
    depthwise, pointwise = network.dsc.conv_dw, network.dsc.conv_pw
    assert depthwise.groups == depthwise.in_channels == 320
    assert pointwise.kernel_size == (1, 1)
    order = []
    for name, module in network.named_children():
        module.register_forward_hook(lambda *_, name=name: order.append(name))
    network(torch.randn(1, 1, 64, 64))
    assert order == ["trunk", "dsc", "cbam", "head"]


def test_the_trunk_is_timms_efficientnet_lite0_without_its_last_convolution():
    trunk = RcdNet().trunk
    lite0 = timm.create_model("tf_efficientnet_lite0", in_chans=1)
    ours = {k: v.shape for k, v in trunk.state_dict().items()}
    theirs = {k: v.shape for k, v in lite0.state_dict().items() if not k.startswith(("conv_head", "bn2", "classifier"))}
    assert ours == theirs


def test_dilated_convolutions_train_as_they_answer():
    """In parts while training, for speed, and whole otherwise: the same values and gradients."""
    dilated = [module for module in RcdNet().trunk.modules() if isinstance(module, DilatedConv)]
    assert [module.kernel_size[0] for module in dilated] == [5, 5, 5, 3]
    torch.manual_seed(0)
    for module in (dilated[0], dilated[-1]):
        torch.nn.init.normal_(module.weight)
        x = torch.randn(2, module.in_channels, 6, 8, requires_grad=True)
        values, gradients = [], []
        for training in (True, False):
            values.append(module.train(training)(x))
            gradients.append(torch.autograd.grad((values[-1] ** 2).sum(), (x, module.weight)))
        assert torch.allclose(*values, rtol=1e-5, atol=1e-4)
        for split_gradient, whole in zip(*gradients, strict=True):
            assert torch.allclose(split_gradient, whole, rtol=1e-4, atol=1e-2)
        odd = torch.randn(1, module.in_channels, 5, 5)
        assert torch.equal(module.train()(odd), module.eval()(odd))


def test_timm_knows_it_by_name():
    assert isinstance(timm.create_model("rcdnet"), RcdNet)
