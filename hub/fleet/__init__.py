"""What the Homie trees say of the devices, and what of it is wrong: the same words on the pages and in alerts. Pure."""
