"""The hub's rules: ``catalog`` which there are, ``keeper`` the part of notify that evaluates and keeps them, ``intake``
its samples, ``orders`` what follows, ``desired`` the rules of devices, ``dry`` what one would have done."""
