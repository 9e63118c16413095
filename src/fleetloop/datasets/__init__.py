"""Other people's data sets: LeRobotDataset v3.0, in and out."""
