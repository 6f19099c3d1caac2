"""RcdNet, the network of Liu et al. 2025 (doi:10.3389/fbioe.2025.1526260), built from timm's parts."""

import timm
import torch
from timm.layers import ClassifierHead, SeparableConvNormAct
from timm.layers.cbam import CbamModule
from timm.models import register_model
from torch import nn
from torch.nn import functional as F

# "Based on EfficientNet" names no size. Lite0 has B0's layers and widths, with ReLU6 and without squeeze-and-excitation, for CBAM is
# the attention that the paper adds; and its ImageNet weights, for the pre-trained ones of section 2.3.1, lie in assets/imagenet.
TRUNK = "tf_efficientnet_lite0"


class DilatedConv(nn.Conv2d):
    """A depthwise convolution of dilation 2 that trains on a CPU as four without: of even rows and columns, and of odd ones.

    The same sums in another order; oneDNN has no quick gradient of a dilated one, on which a fifth of a step at 128 px went.
    """

    def __init__(self, like: nn.Conv2d):
        """With the weights of `like`, a convolution of dilation 2 without bias that keeps the size."""
        side = like.kernel_size[0]
        super().__init__(
            like.in_channels, like.out_channels, side, padding=side - 1, dilation=2, groups=like.groups, bias=False,
            device="meta",  # nothing is drawn, so the random numbers of what follows stay the same
        )  # fmt: skip
        self.weight = like.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count, channels, height, width = x.shape
        if not self.training or x.device.type != "cpu" or height % 2 or width % 2:
            return super().forward(x)
        # Channels stay last all the way, as the trunk keeps them in memory.
        pairs = x.permute(0, 2, 3, 1).reshape(count, height // 2, 2, width // 2, 2, channels)
        parts = pairs.permute(2, 4, 0, 1, 3, 5).flatten(0, 2).permute(0, 3, 1, 2)
        parts = F.conv2d(parts, self.weight, padding=self.kernel_size[0] // 2, groups=self.groups)
        pairs = parts.permute(0, 2, 3, 1).unflatten(0, (2, 2, count)).permute(2, 3, 0, 4, 1, 5)
        return pairs.reshape(count, height, width, channels).permute(0, 3, 1, 2)


class RcdNet(nn.Module):
    """EfficientNet trunk, depthwise separable convolution, CBAM, linear classifier (paper section 2.3.1).

    The paper names the parts and their order but gives no sizes. What it leaves open is chosen here, each with its
    reason beside the line. The network speaks timm's language: `forward_head(forward_features(x))` is `forward(x)`.
    """

    def __init__(
        self,
        *,
        num_classes: int = 2,
        in_chans: int = 1,
        drop_rate: float = 0.2,  # EfficientNet's own; the paper says only "regularization"
        drop_path_rate: float = 0.0,
        pretrained: bool = False,
        pretrained_cfg_overlay: dict | None = None,
    ):
        """`pretrained` starts the trunk from ImageNet; `pretrained_cfg_overlay={"file": ...}` says from which file."""
        super().__init__()
        # It comes without its 1x1 `conv_head`, whose work the separable convolution takes over.
        self.trunk = timm.create_model(
            TRUNK,
            features_only=True,
            # The last stage keeps stride 16, with dilated convolutions in place of its step down: the heatmap has 14 x 14 places
            # at 224 px. With 7 x 7 one lesion in ten lies between the places and cannot be pointed at.
            output_stride=16,
            in_chans=in_chans,
            pretrained=pretrained,
            pretrained_cfg_overlay=pretrained_cfg_overlay,
            drop_path_rate=drop_path_rate,
        )
        for name, module in list(self.trunk.named_modules()):
            if isinstance(module, nn.Conv2d) and module.dilation == (2, 2):
                self.trunk.set_submodule(name, DilatedConv(module))
        trunk_channels = self.trunk.feature_info.channels()[-1]  # type: ignore[union-attr]
        self.num_classes = num_classes
        self.num_features = 1280  # of the `conv_head` that it replaces, so that RcdNet is as wide as EfficientNet
        # One block after the trunk, where "subsequently" in the text puts it; 3x3 is the trunk's own, SiLU EfficientNet's.
        self.dsc = SeparableConvNormAct(trunk_channels, self.num_features, kernel_size=3, act_layer=nn.SiLU)
        # Reduction 16 and a 7x7 spatial kernel are the published defaults of CBAM (Woo et al. 2018, section 3).
        self.cbam = CbamModule(self.num_features)
        # Global average pooling: Grad-CAM is then the exact evidence map of the linear layer behind it.
        self.head = ClassifierHead(self.num_features, num_classes, pool_type="avg", drop_rate=drop_rate)

    def get_classifier(self) -> nn.Module:
        """The linear layer behind the pooling."""
        return self.head.fc

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """float (N, C, S, S) to float (N, 1280, S/16, S/16), the maps that Grad-CAM explains."""
        return self.cbam(self.dsc(self.trunk(x)[-1]))

    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """float (N, 1280, h, w) to logits float (N, num_classes), or to what the linear layer sees, float (N, 1280)."""
        return self.head(features, pre_logits=pre_logits)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float (N, C, S, S) to logits float (N, num_classes)."""
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """What `forward_features` gives, and the trunk's maps at strides 2, 4, 8, 16 and 16 again."""
        maps = self.trunk(x)
        return self.cbam(self.dsc(maps[-1])), maps


@register_model
def rcdnet(*, cache_dir: str | None = None, pretrained_cfg: dict | None = None, **arguments) -> RcdNet:
    """RcdNet under its name in timm, so that `timm.create_model("rcdnet")` treats it like every other model.

    timm hands `cache_dir` and `pretrained_cfg` to every entry; RcdNet as a whole has no published weights to look for.
    """
    return RcdNet(**arguments)
