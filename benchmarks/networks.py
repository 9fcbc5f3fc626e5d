"""Networks that several comparisons run, as PyTorch modules up to their logits."""

import torch
from torch import nn


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's `same` padding: uneven where the stride is 2."""

    def __init__(self, inputs, outputs, kernel, stride):
        super().__init__(inputs, outputs, kernel, stride, padding=kernel // 2 if stride == 1 else 0)
        self.uneven = stride == 2 and kernel == 3

    def forward(self, x):
        return super().forward(nn.functional.pad(x, (0, 1, 0, 1)) if self.uneven else x)


class Stack(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.a, self.a_norm = SameConv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs, eps=1e-3)
        self.b, self.b_norm = SameConv(outputs, outputs, 3, 1), nn.BatchNorm2d(outputs, eps=1e-3)
        self.short = SameConv(inputs, outputs, 1, stride) if stride == 2 else nn.Identity()

    def forward(self, x):
        y = torch.relu(self.a_norm(self.a(x)))
        return torch.relu(self.short(x) + self.b_norm(self.b(y)))


class Resnet8(nn.Module):
    """MLPerf Tiny's network for CIFAR-10, Banbury et al., arXiv:2106.07597."""

    def __init__(self):
        super().__init__()
        self.stem, self.stem_norm = SameConv(3, 16, 3, 1), nn.BatchNorm2d(16, eps=1e-3)
        self.stacks = nn.Sequential(Stack(16, 16), Stack(16, 32), Stack(32, 64))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = self.stacks(torch.relu(self.stem_norm(self.stem(x))))
        return self.fc(x.mean(dim=(2, 3)))

    def layers(self):
        """Layers with weights in the order in which Keras counts them."""
        found = [self.stem, self.stem_norm]
        for s in self.stacks:
            found += [s.a, s.a_norm, s.b, s.b_norm] + ([s.short] if isinstance(s.short, nn.Conv2d) else [])
        return found + [self.fc]


def mlp(*sizes):
    """Dense layers with relu between them, up to the logits."""
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
